"""Fast tests of what can be wrong without a server: ./run --setup && .venv/bin/python -m unittest"""

import unittest

import bailiwick_worker as bw
from bailiwick_wire import backoff, next_failures
from key_sentences import key_sentences, sentences


class Wire(unittest.TestCase):
    def test_json_survives_the_wire_with_whole_numbers_whole(self):
        item = {"a": [1, -2.5, True, None, "é"], "b": {}, "c": 10**12}
        back = bw.from_value(bw.to_value(item))
        self.assertEqual(back, item)
        self.assertIsInstance(back["c"], int)

    def test_what_json_lacks_is_refused(self):
        for item in float("nan"), {1: 2}, object(), "x" * (1 << 20):
            with self.assertRaises((TypeError, ValueError)):
                bw.to_value(item)

    def test_every_decision_reaches_the_wire(self):
        plan = {"steps": [{"id": "one", "agent": "a", "input": {"x": 1}}]}
        for decision, kind in [
            (bw.Decision.complete_partial({"fields": {}}, "r"), "complete_partial"),
            (bw.Decision.escalate("q"), "escalate"),
            (bw.Decision.abort("r"), "abort"), (bw.Decision.replan(plan=plan), "replan"),
            (bw.Decision.replan(agent="a", input=[]), "replan")]:
            complete = bw.pb.Complete()
            bw.fill(complete, decision, bw.pb.UsageReport(usage={"input_tokens": 2}).usage)
            self.assertEqual(complete.decision.WhichOneof("decision"), kind)
            self.assertEqual(complete.decision.usage.input_tokens, 2)
            following = complete.decision.replan
            self.assertEqual(following.WhichOneof("next") is not None, kind == "replan")

    def test_a_whole_answer_reaches_the_wire(self):
        complete, usage = bw.pb.Complete(), bw.pb.UsageReport(usage={}).usage
        answer = bw.Answer({"fields": {}}, 0.5, "partial", "why", ["turn-1"], hand_off=("b", {"list": []}))
        bw.fill(complete, answer, usage)
        envelope = complete.envelope
        self.assertEqual((envelope.status, envelope.confidence, envelope.reason), (2, 0.5, "why"))
        self.assertEqual(bw.from_value(envelope.result), {"fields": {}})
        self.assertEqual((envelope.hand_off.agent, bw.from_value(envelope.hand_off.input)), ("b", {"list": []}))
        with self.assertRaises(TypeError):
            bw.fill(bw.pb.Complete(), {"not": "an answer"}, usage)

    def test_text_is_cut_between_characters(self):
        self.assertEqual(bw.cut("aé", 2), "a")

    def test_an_answer_that_does_not_fit_together_is_refused(self):
        two = {"hand_off": ("a", 1), "ask_human": "?"}
        for fields in {"status": "done"}, {"status": "failed"}, {"confidence": 1.5}, two:
            with self.assertRaises(ValueError):
                bw.Answer(**fields)

    def test_a_child_keeps_the_trace(self):
        parent = "00-" + "ab" * 16 + "-" + "cd" * 8 + "-00"
        child = bw.child_traceparent(parent)
        self.assertEqual((child[:36], child[52:]), (parent[:36], parent[52:]))
        self.assertNotEqual(child, parent)
        self.assertRegex(bw.child_traceparent("nonsense"), bw.TRACEPARENT)

    def test_backoff_stays_in_its_bounds(self):
        self.assertEqual([round(backoff(n, 0.0), 3) for n in (0, 5, 10**6)], [0.1, 0.1, 0.1])
        self.assertEqual([round(backoff(n, 1.0), 3) for n in (0, 2, 10**6)], [0.2, 0.8, 5.0])
        self.assertEqual([next_failures(7, *end) for end in ((True, 9), (True, 0.1), (False, 9))], [0, 2, 8])


class Sentences(unittest.TestCase):
    TEXT = (
        "# A title that is no sentence at all, really.\n\n"
        "The ledger holds what was granted, and\nthe ledger never forgets what was spent (e.g. tokens). Short one.\n\n"
        "- The ledger is in the list as well, as an item.\n"
        "```\nThe code in a fence is never a sentence.\n```\nNobody mentions penguins more than this once.\n")

    def test_every_excerpt_stands_on_its_line(self):
        found = list(sentences(self.TEXT))
        self.assertEqual([s.line for s in found], [4, 6, 10])
        for sentence in found:
            self.assertIn(sentence.excerpt, self.TEXT.split("\n")[sentence.line - 1])
        self.assertTrue(found[0].whole.startswith("The ledger holds") and found[0].whole.endswith("tokens)."))

    def test_what_the_text_is_about_comes_first(self):
        ranked = key_sentences(self.TEXT)
        self.assertIn("never forgets", ranked[0].whole)
        self.assertIn("penguins", ranked[-1].whole)


if __name__ == "__main__":
    unittest.main()
