//! The `bailiwick` binary.

use bailiwick::conformance;

#[tokio::main]
async fn main() -> std::process::ExitCode {
    let mut args = std::env::args().skip(2);
    let mut options = conformance::Options::new(Vec::new());
    let (mut json, mut junit) = (false, None);
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--json" => json = true,
            "--junit" => junit = args.next(),
            "--only" => options.only.extend(args.next()),
            "--list" => {
                conformance::print_list();
                return std::process::ExitCode::SUCCESS;
            }
            _ => break,
        }
    }
    options.command = args.collect();
    if !json {
        options.on_case = Some(conformance::print_case);
    }
    let report = match conformance::run(options).await {
        Ok(report) => report,
        Err(error) => {
            eprintln!("{error}");
            return std::process::ExitCode::from(2);
        }
    };
    if json {
        println!("{:#}", report.to_json());
    } else {
        conformance::print_summary(&report);
    }
    if let Some(file) = junit
        && let Err(error) = std::fs::write(&file, report.to_junit())
    {
        eprintln!("{file}: {error}");
    }
    std::process::ExitCode::from(u8::from(!report.passed()))
}
