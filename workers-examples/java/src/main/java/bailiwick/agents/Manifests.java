package bailiwick.agents;

import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * Dependencies that a manifest declares, each with its line. Read line by line, without a parser for each format: what
 * is written in the usual way is found, and every find can be checked against its line.
 */
final class Manifests {
    /** A declared dependency; the line is 1-based. */
    record Dependency(int line, String name) {}

    /** How one format is read: where its dependencies begin and end, and what names one. */
    private record Format(Pattern begins, Pattern ends, Pattern entry) {}

    private static final Pattern TABLE = Pattern.compile("^\\s*\\[.*");
    private static final String NAME = "[A-Za-z0-9][A-Za-z0-9._-]*";
    private static final Format REQUIREMENT_LIST = new Format(
            Pattern.compile("^\\s*dependencies\\s*=\\s*\\[(?=\\s*(#.*)?$)"), Pattern.compile("^\\s*\\].*"),
            Pattern.compile("^\\s*[\"'](" + NAME + ")"));

    private static final Map<String, List<Format>> FORMATS = Map.of(
            "Cargo.toml", List.of(new Format(
                    Pattern.compile("^\\s*\\[(.*\\.)?((dev|build)-)?dependencies\\]"), TABLE,
                    Pattern.compile("^\\s*\"?([A-Za-z0-9][A-Za-z0-9_-]*)\"?(?:\\.[a-z]+)?\\s*="))),
            "package.json", List.of(new Format(
                    Pattern.compile("^\\s*\"(dev|peer|optional)?[dD]ependencies\"\\s*:\\s*\\{\\s*$"),
                    Pattern.compile("^\\s*\\}.*"), Pattern.compile("^\\s*\"([^\"]+)\"\\s*:"))),
            "go.mod", List.of(
                    new Format(Pattern.compile("^require\\s*\\($"), Pattern.compile("^\\).*"),
                            Pattern.compile("^\\s*(\\S+)\\s+v\\S+")),
                    new Format(null, null, Pattern.compile("^require\\s+([^\\s(]+)\\s+v\\S+"))),
            "pom.xml", List.of(new Format(
                    Pattern.compile("^\\s*<dependency>\\s*$"), Pattern.compile("^\\s*(</dependency>|<exclusions>).*"),
                    Pattern.compile("^\\s*<artifactId>([^<]+)</artifactId>"))),
            "requirements.txt", List.of(new Format(null, null, Pattern.compile("^(" + NAME + ")"))),
            "pyproject.toml", List.of(REQUIREMENT_LIST, new Format(
                    Pattern.compile("^\\s*\\[tool\\.poetry\\.(group\\..*\\.)?dependencies\\]"), TABLE,
                    Pattern.compile("^\\s*(" + NAME + ")\\s*="))));

    private Manifests() {}

    static List<Dependency> dependencies(String file, List<String> lines) {
        List<Dependency> found = new ArrayList<>();
        for (Format format : FORMATS.getOrDefault(file, List.of())) {
            boolean inside = format.begins == null;
            for (int i = 0; i < lines.size(); i++) {
                String line = lines.get(i).replace("\r", "");
                if (format.begins != null && format.begins.matcher(line).find()) {
                    inside = true;
                } else if (inside && format.ends != null && format.ends.matcher(line).matches()) {
                    inside = false;
                } else if (inside) {
                    Matcher entry = format.entry.matcher(line);
                    if (entry.find()) {
                        found.add(new Dependency(i + 1, entry.group(1)));
                    }
                }
            }
        }
        return found;
    }
}
