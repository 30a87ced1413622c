"""The travel agency of the patterns in Python: the same agents as in src/, a few lines each, no model.

    ./run python
"""

from bailiwick_worker import Answer, Decision, Worker

worker = Worker()


def answer(ctx, result, **more):
    """Answers with this, and is charged a token for four characters of it, as a model would be."""
    ctx.usage(input_tokens=len(str(ctx.input)) // 4, output_tokens=len(str(result)) // 4)
    return Answer(result, confidence=0.9, **more)


def failed(reason):
    return Answer(status="failed", reason=reason)


def step(name, agent, given, depends_on=(), **more):
    return {"id": name, "agent": agent, "input": given, "depends_on": list(depends_on), "max_tokens": 2000, **more}


def steps_so_far(ctx):
    """The last envelope of every step so far, by the step's id."""
    return {e.step_id: e for e in sorted(ctx.lineage(), key=lambda e: e.turn) if e.step_id}


def result_of(steps, name):
    """The result of a step that went well, at least in part."""
    return steps[name].result if name in steps and steps[name].status != "failed" else None


@worker.agent("agency", description="Owns every task; decides when a guard trips.")
def agency(ctx):
    if not ctx.is_decide:
        return failed("the agency only decides")
    ctx.usage(40, 10)
    if ctx.best_result is None:
        return Decision.abort("there is nothing to show")
    return Decision.complete_partial(reason="the best so far will do")


# Orchestrator-worker: delegate a plan, have control back with every envelope.


@worker.agent("organiser", description="Plans a trip: delegates, then answers with the total.")
def organiser(ctx):
    steps, trip = steps_so_far(ctx), ctx.input
    total = result_of(steps, "total")
    if total:
        return answer(ctx, total, inputs_used=("total",))
    for name, entry in steps.items():
        if entry.status == "failed":
            return failed("%s: %s" % (name, entry.reason))
    ctx.usage(60, 120)
    return Answer(delegate={"steps": [
        step("travel", "airline", trip, fallback_agents=["railway"]),
        step("bed", "hotel", trip),
        step("tips", "guide", trip, optional=True),
        step("total", "accountant", trip, ["travel", "bed", "tips"]),
    ]})


@worker.agent("airline", description="Flies, unless there is a strike.")
def airline(ctx):
    if ctx.input.get("strike"):
        return failed("no flights: there is a strike")
    return answer(ctx, {"by": "air", "hours": 3, "price": 240})


@worker.agent("railway", description="Takes longer, and always goes.")
def railway(ctx):
    return answer(ctx, {"by": "rail", "hours": 31, "price": 190})


@worker.agent("hotel", description="A bed, unless it is full.")
def hotel(ctx):
    if ctx.input.get("full"):
        return failed("no room is left")
    return answer(ctx, {"bed": "Hotel Centrale", "price": 95 * ctx.input["nights"]})


@worker.agent("guide", description="Tips for the towns it knows.")
def guide(ctx):
    if ctx.input["to"] != "Rome":
        return failed("nobody here knows " + ctx.input["to"])
    return answer(ctx, {"tip": "go to the Aventine for the keyhole"})


@worker.agent("accountant", description="Adds up the prices of what it depends on.")
def accountant(ctx):
    steps = steps_so_far(ctx)
    lines = {name: result_of(steps, name) for name in sorted(steps)}
    without = [name for name, line in lines.items() if line is None]
    lines = {name: line for name, line in lines.items() if line is not None}
    price = sum(line.get("price", 0) for line in lines.values())
    return answer(ctx, {"price": price, "lines": lines, "without": without}, inputs_used=tuple(steps))


# Dynamic hand-off: each agent decides who is next; the server counts.


@worker.agent("desk", description="Reads a letter and passes it on.")
def desk(ctx):
    to = "refunds" if "money back" in ctx.input["text"] else "bookings"
    ctx.usage(len(ctx.input["text"]) // 4, 10)
    return Answer({"for": to}, confidence=0.9, hand_off=(to, ctx.input))


@worker.agent("refunds", description="Pays back what a booking cost.")
def refunds(ctx):
    ctx.usage(40, 20)
    if "booking" not in ctx.input:
        # It cannot pay what it does not know: the booking first, then back to here.
        return Answer({"waits_for": "booking"}, hand_off=("bookings", {"text": ctx.input["text"], "then": "refunds"}))
    price = ctx.input["booking"]["price"]
    return answer(ctx, {"answer": "You get %d euros back." % price, "refund": price})


@worker.agent("bookings", description="Looks up a booking.")
def bookings(ctx):
    text = ctx.input["text"]
    number = "".join(c for c in text if c.isdigit())
    if number != "4711":
        return failed("there is no booking %r" % number)
    booking = {"number": number, "price": 190}
    ctx.usage(len(text) // 4, 20)
    if "then" in ctx.input:
        return Answer(booking, hand_off=(ctx.input["then"], {"text": text, "booking": booking}))
    return answer(ctx, {"answer": "Booking %s stands." % number})


# Adaptive planning: the manager never says "enough"; the server ends it.

SIGHTS = {  # hours, and what it is worth
    "walls": (2, 30), "museum": (4, 34), "cathedral": (1, 18), "market": (2, 14),
    "harbour": (3, 27), "garden": (1, 9), "tower": (2, 24),
}
EVERYTHING = sum(value for _, value in SIGHTS.values())  # no day can hold it: a score is a part of it


def worth(sights):
    return sum(SIGHTS[name][1] for name in sights)


@worker.agent("manager", description="Has a day planned, and planned again.")
def manager(ctx):
    steps = steps_so_far(ctx)
    if "draft" in steps and steps["draft"].status == "failed":
        return failed(steps["draft"].reason)
    draft = result_of(steps, "draft") or {"sights": [], "worth": 0}
    ctx.usage(50, 20)
    plan = {"steps": [step("draft", "scout", {**ctx.input, "draft": draft})]}
    best = draft if draft["worth"] else None
    return Answer(best, confidence=0.9, score=draft["worth"] / EVERYTHING, delegate=plan)


@worker.agent("scout", description="Makes a day a little better.")
def scout(ctx):
    """Puts in the sight that the draft can best be improved by; where no hours are left, swaps a poor one out."""
    now = ctx.input["draft"]["sights"]
    better = now
    for out in [None, *now]:
        for more in SIGHTS:
            tried = [name for name in now if name != out] + [more]
            fits = sum(SIGHTS[name][0] for name in tried) <= ctx.input["hours"]
            if more not in now and fits and worth(tried) > worth(better):
                better = tried
    return answer(ctx, {"sights": [name for name in SIGHTS if name in better], "worth": worth(better)})


# All of it in one task.


@worker.agent("planner", description="Delegates, re-plans, and leaves the letter to the writer.")
def planner(ctx):
    steps, trip = steps_so_far(ctx), ctx.input
    travel, bed = result_of(steps, "travel"), result_of(steps, "bed")
    ctx.usage(60, 60)
    if travel and bed:
        material = {"trip": trip, "travel": travel, "bed": bed}
        return Answer(material, confidence=0.6, hand_off=("writer", material))
    if travel:  # The first plan came back without a bed: another plan, for that alone.
        return Answer(travel, delegate={"steps": [step("bed", "hostel", trip)]})
    return Answer(delegate={"steps": [step("travel", "travel-desk", trip), step("bed", "hotel", trip)]})


@worker.agent("travel-desk", description="Knows who goes today, and hands the step to them.")
def travel_desk(ctx):
    to = "railway" if ctx.input.get("strike") else "airline"
    ctx.usage(30, 10)
    return Answer({"goes": to}, hand_off=(to, ctx.input))


@worker.agent("hostel", description="A bed where the hotel has none.")
def hostel(ctx):
    return answer(ctx, {"bed": "Ostello della Stazione", "price": 35 * ctx.input["nights"]})


@worker.agent("writer", description="Writes the letter.")
def writer(ctx):
    trip, travel, bed = (ctx.input[key] for key in ("trip", "travel", "bed"))
    price = travel["price"] + bed["price"]
    letter = "You go to %s by %s and sleep at %s, for %d euros." % (trip["to"], travel["by"], bed["bed"], price)
    return answer(ctx, {"letter": letter, "price": price})


worker.run()
