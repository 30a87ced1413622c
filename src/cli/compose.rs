//! From the settings that a person writes to the options of the parts. Destructured exhaustively, so that a setting cannot
//! be read and then forgotten. Never here: a default; those are the settings' own.

use std::{collections::BTreeMap, path::Path};

use serde::Deserialize;

use super::{Exit, Failure, failure::Violation};
use crate::{
    app::{AppOptions, StoreChoice, Traces},
    config::{Breakers, Ceilings, LogFormat, Settings, burn},
    notify::{Webhooks, settings},
    runtime::{BreakerTerms, Breaking, Bulkheads, BurnLimit, Price, PriceTable, RuntimeOptions},
    service::server::ServerOptions,
    types::{limits, time::Span},
};

/// A model's prices, as the file has them: nano-USD a token.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PriceRow {
    input: u64,
    output: u64,
    cached_input: Option<u64>,
}

/// The options of a server, and how it logs.
pub(super) struct Composed {
    pub(super) app: AppOptions,
    pub(super) log: String,
    pub(super) log_format: LogFormat,
}

/// Translates the settings.
///
/// # Errors
/// The file of prices or that of webhooks cannot be used.
pub(super) fn compose(settings: Settings) -> Result<Composed, Failure> {
    let heartbeat = settings.heartbeat();
    let Settings {
        listen,
        data,
        in_memory,
        // Both are obeyed when the settings are checked: see `Settings::validate`.
        insecure: _,
        heartbeat_interval: _,
        lease_time,
        shards,
        max_open_tasks,
        max_resident_tasks,
        max_queue,
        max_concurrent_streams,
        prices,
        webhooks,
        burn_rate,
        metrics,
        shutdown_grace,
        worker_max_concurrency,
        max_sessions,
        max_watches,
        max_watch_mib,
        forbid_chaos,
        log,
        log_format,
        breakers,
        bulkheads,
        ceilings,
    } = settings;
    let prices = price_table(prices.as_deref())?;
    let webhooks = webhooks.as_deref().map(sinks).transpose()?.unwrap_or_default();
    let burn_rate = burn_rate.as_deref().map(burn_limits).transpose()?.unwrap_or_default();
    let size = |count: u32| usize::try_from(count).unwrap_or(usize::MAX);
    let runtime = RuntimeOptions {
        shards: u16::try_from(shards).unwrap_or(u16::MAX),
        lease_time: Span::from(lease_time),
        heartbeat_interval: Span::from(heartbeat),
        max_open_tasks: size(max_open_tasks),
        max_resident_tasks: size(max_resident_tasks),
        max_queue: size(max_queue),
        max_sessions: size(max_sessions),
        max_watch_bytes: size(max_watch_mib) << 20,
        max_concurrency: worker_max_concurrency,
        breaking: breaking(&breakers),
        bulkheads: Bulkheads { agents: bulkheads.agents, namespaces: bulkheads.namespaces },
        max_open_by_namespace: bulkheads.open_tasks,
        ceilings: engine_ceilings(&ceilings, prices.dearest()),
        prices,
        burn_rate,
    };
    let app = AppOptions {
        listen,
        store: if in_memory { StoreChoice::Memory } else { StoreChoice::Sqlite(data) },
        runtime,
        server: ServerOptions {
            max_concurrent_streams,
            max_watches: size(max_watches),
            forbid_chaos,
            ..ServerOptions::default()
        },
        traces: Traces::FromEnvironment,
        webhooks,
        metrics,
        grace: shutdown_grace,
    };
    Ok(Composed { app, log, log_format })
}

/// The same terms for agents and for workers.
fn breaking(breakers: &Breakers) -> Breaking {
    let Breakers {
        consecutive_failures,
        failure_percent,
        min_results,
        open_for,
        open_at_most,
        probes,
        probes_to_close,
    } = *breakers;
    let terms = BreakerTerms {
        consecutive: consecutive_failures,
        failure_percent,
        min_results,
        open_for: Span::from(open_for),
        open_at_most: Span::from(open_at_most),
        probes,
        probes_to_close,
    };
    Breaking { agents: terms, workers: terms }
}

fn engine_ceilings(ceilings: &Ceilings, dearest: Option<u64>) -> limits::Ceilings {
    let Ceilings {
        max_tokens,
        deadline,
        max_hops,
        max_turns,
        max_replans,
        max_rounds,
        max_attempts,
        max_parallel,
        max_children,
        max_depth,
        escalation_timeout,
        max_lifetime,
    } = *ceilings;
    limits::Ceilings {
        max_tokens,
        deadline: Span::from(deadline),
        max_hops,
        max_turns,
        max_replans,
        max_rounds,
        max_attempts,
        max_parallel,
        max_children,
        max_depth,
        escalation_timeout: Span::from(escalation_timeout),
        max_lifetime: Span::from(max_lifetime),
        dearest_nano_usd_per_token: dearest,
    }
}

/// The webhooks in a file.
fn sinks(file: &Path) -> Result<Webhooks, Failure> {
    let sinks = settings::read(file, |name| std::env::var(name).ok()).map_err(|error| {
        let say = |description| Violation { description, ..Violation::default() };
        let violations = error.0.into_iter().map(say).collect();
        Failure { violations, ..Failure::new(Exit::Usage, "the webhooks cannot be used") }
    })?;
    Ok(Webhooks { sinks, ..Webhooks::default() })
}

/// The burn-rate limits in a file.
fn burn_limits(file: &Path) -> Result<Vec<BurnLimit>, Failure> {
    burn::read(file).map_err(|faults| {
        let say = |description| Violation { description, ..Violation::default() };
        let violations = faults.into_iter().map(say).collect();
        Failure { violations, ..Failure::new(Exit::Usage, "the burn-rate limits cannot be used") }
    })
}

/// The table of prices in a file; none where no file is named.
fn price_table(file: Option<&Path>) -> Result<PriceTable, Failure> {
    let Some(file) = file else { return Ok(PriceTable::default()) };
    let wrong = |what: String| {
        Failure::new(Exit::Usage, format!("the prices in {} cannot be used: {what}", file.display()))
            .hint("write a table a model: [\"name\"] with input = and output =, in nano-USD a token")
    };
    let text = std::fs::read_to_string(file).map_err(|error| wrong(error.to_string()))?;
    let rows: BTreeMap<String, PriceRow> =
        toml::from_str(&text).map_err(|error| wrong(error.message().to_owned()))?;
    let prices = rows.into_iter().map(|(model, row)| {
        let PriceRow { input, output, cached_input } = row;
        let price = Price {
            input_nano_usd: input,
            output_nano_usd: output,
            cached_input_nano_usd: cached_input.unwrap_or(input),
        };
        (model, price)
    });
    Ok(PriceTable(prices.collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prices_are_read_and_a_cached_token_costs_what_a_read_one_does_unless_said() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("prices.toml");
        std::fs::write(&file, "[\"m-1\"]\ninput = 3000\noutput = 15000\n").expect("written");
        let table = price_table(Some(&file)).expect("good prices");
        assert_eq!(table.0["m-1"].cached_input_nano_usd, 3_000);
        assert_eq!(table.dearest(), Some(15_000));
    }

    #[test]
    fn prices_that_make_no_sense_are_refused_with_their_file() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("prices.toml");
        std::fs::write(&file, "[m]\ninput = 1\nouput = 2\n").expect("written");
        let failure = price_table(Some(&file)).expect_err("a misspelt key");
        assert!(failure.message.contains("prices.toml"), "{}", failure.message);
        assert!(failure.message.contains("ouput"), "{}", failure.message);
    }
}
