package bailiwick.agents;

import bailiwick.worker.Answer;
import bailiwick.worker.Attempt;
import java.util.ArrayList;
import java.util.List;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/** The example agent: licence files, SPDX headers, declared dependencies, and sources that carry no licence at all. */
final class Licences {
    private static final Pattern LICENCE_FILE = Pattern.compile("(?i)(.*/)?((UN)?LICEN[CS]E|COPYING)([.-][A-Z0-9.-]+)?");
    private static final Pattern SPDX = Pattern.compile("SPDX-License-Identifier:\\s*([\\w.+() -]*[\\w.+)])");
    private static final Pattern SOURCE = Pattern.compile(".*\\.(rs|go|java|kt|py|tsx?|jsx?|c|h|cc|cpp|hpp|cs|rb|swift|sh)");
    private static final Pattern SAYS = Pattern.compile("(?i)copyright|licen[cs]ed under|SPDX-License-Identifier|all rights reserved");
    private static final int HEADER = 20; // lines in which a licence header stands

    private final Listing listing;
    private final List<String> bare = new ArrayList<>();
    private boolean licensed;

    private Licences(Listing listing) {
        this.listing = listing;
    }

    static Answer find(Attempt attempt) throws Exception {
        Licences agent = new Licences(new Listing(attempt));
        agent.listing.read(agent::look);
        List<String> without = agent.licensed ? List.of() : agent.bare;
        String note = "no licence in it, and none at the top";
        without.forEach(path -> agent.listing.found("unlicensed_files", "unlicensed", path, 0, "", note));
        return agent.listing.conclude(String.format("%d files: %d licence files, %d SPDX headers, %d declared dependencies, "
                + "%d sources without a licence.", agent.listing.fact("files"), agent.listing.fact("licence_files"),
                agent.listing.fact("spdx_headers"), agent.listing.fact("dependencies"), without.size()), 0.9);
    }

    private void look(String path, List<String> lines) {
        List<String> header = lines.subList(0, Math.min(lines.size(), HEADER));
        if (LICENCE_FILE.matcher(path).matches() && !SOURCE.matcher(path).matches()) {
            int title = (int) header.stream().takeWhile(String::isBlank).count() % header.size();
            listing.found("licence_files", "licence", path, title + 1, lines.get(title), "a licence file");
            licensed |= !path.contains("/");
        }
        for (int n = 0; n < header.size(); n++) {
            Matcher spdx = SPDX.matcher(header.get(n));
            if (spdx.find()) {
                listing.found("spdx_headers", "spdx", path, n + 1, header.get(n), "SPDX header: " + spdx.group(1));
            }
        }
        for (Manifests.Dependency found : Manifests.dependencies(path.substring(path.lastIndexOf('/') + 1), lines)) {
            String line = lines.get(found.line() - 1);
            listing.found("dependencies", "dependency", path, found.line(), line, "declares " + found.name());
        }
        if (SOURCE.matcher(path).matches() && header.stream().noneMatch(line -> SAYS.matcher(line).find())) {
            bare.add(path);
        }
    }
}
