package bailiwick.agents;

import bailiwick.worker.Answer;
import bailiwick.worker.Attempt;
import bailiwick.worker.Json;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.InvalidPathException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.function.BiConsumer;
import java.util.stream.Collectors;

/**
 * Reading what a planner listed, and the report on it. Never a byte from outside the root, whatever a path or a link
 * says. Nothing here calls a model: characters / 4 stand for the tokens that one would have read or written.
 */
final class Listing {
    private static final int MAX_FINDINGS = 200;
    private static final long MAX_FILE = 1 << 20; // bytes
    private static final int MAX_TEXT = 160; // characters of an excerpt
    private static final int FINDING_TEXT = 250; // characters a finding takes in the report: kept affordable to say

    private final List<String> files;
    private final Map<String, Object> facts = new TreeMap<>();
    private final List<Map<String, Object>> findings = new ArrayList<>();
    private final Attempt attempt;
    private final Path root;
    private String shortfall = "";

    Listing(Attempt attempt) throws IOException {
        Map<String, Object> input = Json.object(attempt.input());
        this.attempt = attempt;
        root = Path.of(Json.text(input.get("root"))).toRealPath();
        files = Json.list(input.get("files")).stream().map(Json::text).toList();
        count("files", 0);
    }

    /** Shows the lines of every readable file to the reader, until the files or the allowance end. */
    void read(BiConsumer<String, List<String>> reader) throws InterruptedException {
        for (int i = 0; i < files.size(); i++) {
            attempt.sleep(0); // a cancel comes first
            if (i % 50 == 49) {
                attempt.progress(i + " of " + files.size() + " files read", null);
            }
            String text = text(files.get(i));
            if (text == null) {
                count("skipped", 1);
                continue;
            }
            long report = (long) FINDING_TEXT * Math.min(findings.size() + 20, MAX_FINDINGS);
            if (!attempt.afford(tokens(text.length() + report))) {
                shortfall = "the allowance ended at file " + (i + 1) + " of " + files.size();
                return;
            }
            attempt.addUsage(tokens(text.length()), 0);
            count("files", 1);
            reader.accept(files.get(i), List.of(text.split("\n", -1)));
        }
    }

    /** What a file holds; null for one that is to be skipped. */
    private String text(String name) {
        try {
            Path path = root.resolve(name).toRealPath();
            boolean readable = path.startsWith(root) && Files.isRegularFile(path) && Files.size(path) <= MAX_FILE;
            return readable ? Files.readString(path) : null;
        } catch (IOException | InvalidPathException unreadable) {
            return null;
        }
    }

    private void count(String fact, long more) {
        facts.merge(fact, more, (before, add) -> (long) before + (long) add);
    }

    long fact(String fact) {
        return (long) facts.getOrDefault(fact, 0L);
    }

    /**
     * Adds a finding and counts it as a fact. The line is 1-based, 0 means the whole file; the text is cut, never
     * changed, so that it is found in its line.
     */
    void found(String fact, String kind, String path, int line, String text, String note) {
        count(fact, 1);
        String excerpt = text.strip();
        int end = Math.min(excerpt.length(), MAX_TEXT);
        if (end > 0 && Character.isHighSurrogate(excerpt.charAt(end - 1))) {
            end--;
        }
        Map<String, Object> finding = new LinkedHashMap<>();
        finding.put("kind", kind);
        finding.put("path", path);
        finding.put("line", line);
        finding.put("text", excerpt.substring(0, end));
        finding.put("note", note);
        findings.add(finding);
    }

    /** The report. Where there are too many findings, the rare kinds come first. */
    Answer conclude(String summary, double confidence) {
        Map<Object, Long> kinds =
                findings.stream().collect(Collectors.groupingBy(finding -> finding.get("kind"), Collectors.counting()));
        findings.sort(Comparator.comparing(finding -> kinds.get(finding.get("kind"))));
        Map<String, Object> report = new LinkedHashMap<>();
        report.put("summary", summary);
        report.put("facts", facts);
        report.put("findings", findings.subList(0, Math.min(findings.size(), MAX_FINDINGS)));
        attempt.addUsage(0, tokens(report.toString().length()));
        return shortfall.isEmpty() ? Answer.success(report, confidence) : Answer.partial(report, confidence, shortfall);
    }

    private static long tokens(long characters) {
        return (characters + 3) / 4;
    }
}
