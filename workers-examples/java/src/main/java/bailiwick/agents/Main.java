package bailiwick.agents;

import bailiwick.worker.Worker;

/** Serves one set of agents: the example or the conformance agent. */
public final class Main {
    private Main() {}

    public static void main(String[] args) throws InterruptedException {
        String set = args.length > 0 ? args[0] : "example";
        Worker worker = Worker.fromEnv();
        switch (set) {
            case "example" -> worker.handle("licences", "1",
                    "Finds licence files, SPDX headers, declared dependencies and files without a licence.", Licences::find);
            case "conformance" -> worker.handle("conformance", "1", "Does what its input says, to test this worker.",
                    Conformance::follow);
            default -> {
                System.err.println("unknown agent set " + set + ": example or conformance");
                System.exit(64);
            }
        }
        worker.run();
    }
}
