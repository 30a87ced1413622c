//! The standard `OTEL_*` variables, read once. Traces are off unless an endpoint is set.
//!
//! What only the transport needs (`OTEL_EXPORTER_OTLP_HEADERS`, `_TIMEOUT`, `_COMPRESSION`, `_INSECURE` and their
//! `_TRACES_` forms), and what the server is called (`OTEL_SERVICE_NAME`, `OTEL_RESOURCE_ATTRIBUTES`), the OpenTelemetry
//! crates read by themselves when the sink is built.

/// How traces are exported.
#[derive(Debug, Clone, PartialEq)]
pub struct TraceSettings {
    /// The sink's address, e.g. `http://127.0.0.1:4317`.
    pub endpoint: String,
    /// Which tasks are recorded.
    pub sampler: Sampler,
}

/// Which tasks are recorded.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sampler {
    /// Whether a submitter that sent a trace context decides.
    pub follows_parent: bool,
    /// The part of the others that is recorded, 0 to 1.
    pub ratio: f64,
}

/// A setting that cannot be obeyed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{variable}={value:?} cannot be obeyed: {advice}")]
pub struct InvalidSetting {
    variable: &'static str,
    value: String,
    advice: &'static str,
}

impl TraceSettings {
    /// The settings of an environment; `None`: traces are off.
    ///
    /// # Errors
    /// A variable asks for what is not there.
    pub fn read(lookup: impl Fn(&str) -> Option<String>) -> Result<Option<Self>, InvalidSetting> {
        let set =
            |name: &str| lookup(name).map(|text| text.trim().to_owned()).filter(|text| !text.is_empty());
        // The specific form of a variable goes before the general one.
        let either = |specific, general| {
            set(specific)
                .map(|value| (specific, value))
                .or_else(|| set(general).map(|value| (general, value)))
        };
        if set("OTEL_SDK_DISABLED").is_some_and(|value| value.eq_ignore_ascii_case("true")) {
            return Ok(None);
        }
        match set("OTEL_TRACES_EXPORTER").as_deref() {
            None | Some("otlp") => {}
            Some("none") => return Ok(None),
            Some(other) => {
                return Err(refuse("OTEL_TRACES_EXPORTER", other, "write \"otlp\" or \"none\""));
            }
        }
        let endpoint = either("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT");
        let Some((_, endpoint)) = endpoint else { return Ok(None) };
        if let Some((variable, protocol)) =
            either("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
            && protocol != "grpc"
        {
            return Err(refuse(
                variable,
                &protocol,
                "write \"grpc\" and name the sink's gRPC port, usually 4317",
            ));
        }
        let sampler = read_sampler(set("OTEL_TRACES_SAMPLER"), set("OTEL_TRACES_SAMPLER_ARG"))?;
        Ok(Some(Self { endpoint, sampler }))
    }
}

impl Sampler {
    /// Records every task.
    pub const ALWAYS: Self = Self { follows_parent: false, ratio: 1.0 };

    /// Whether a task is recorded. `trace` is its trace, `parent` whether its submitter records it, where there is one that
    /// says. Always the same answer for the same task.
    pub fn keeps(self, trace: u128, parent: Option<bool>) -> bool {
        if let (true, Some(sampled)) = (self.follows_parent, parent) {
            return sampled;
        }
        // A trace id that is a task id has fixed bits, so it is mixed first: a ratio is taken of even numbers only.
        let mixed = (trace ^ (trace >> 64)).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835);
        let place = (mixed >> 96) as f64 / f64::from(u32::MAX);
        self.ratio >= 1.0 || place < self.ratio
    }
}

fn read_sampler(name: Option<String>, argument: Option<String>) -> Result<Sampler, InvalidSetting> {
    let name = name.unwrap_or_else(|| "parentbased_always_on".to_owned());
    let (follows_parent, rest) = match name.strip_prefix("parentbased_") {
        Some(rest) => (true, rest),
        None => (false, name.as_str()),
    };
    let ratio = match rest {
        "always_on" => 1.0,
        "always_off" => 0.0,
        "traceidratio" => read_ratio(argument)?,
        _ => {
            return Err(refuse(
                "OTEL_TRACES_SAMPLER",
                &name,
                "write always_on, always_off or traceidratio, each also with the prefix parentbased_",
            ));
        }
    };
    Ok(Sampler { follows_parent, ratio })
}

fn read_ratio(argument: Option<String>) -> Result<f64, InvalidSetting> {
    let Some(text) = argument else { return Ok(1.0) };
    match text.parse::<f64>() {
        Ok(ratio) if (0.0..=1.0).contains(&ratio) => Ok(ratio),
        _ => Err(refuse("OTEL_TRACES_SAMPLER_ARG", &text, "write a number from 0 to 1")),
    }
}

fn refuse(variable: &'static str, value: &str, advice: &'static str) -> InvalidSetting {
    InvalidSetting { variable, value: value.to_owned(), advice }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ENDPOINT: (&str, &str) = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:4317");

    fn read(pairs: &[(&str, &str)]) -> Result<Option<TraceSettings>, InvalidSetting> {
        TraceSettings::read(|name| {
            pairs.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn traces_are_off_unless_an_endpoint_is_set() {
        assert_eq!(read(&[]), Ok(None));
        assert_eq!(read(&[(ENDPOINT.0, " ")]), Ok(None));
        assert_eq!(read(&[ENDPOINT, ("OTEL_SDK_DISABLED", "TRUE")]), Ok(None));
        assert_eq!(read(&[ENDPOINT, ("OTEL_TRACES_EXPORTER", "none")]), Ok(None));
        let on = read(&[ENDPOINT]);
        let sampler = Sampler { follows_parent: true, ratio: 1.0 };
        let expected = TraceSettings { endpoint: ENDPOINT.1.to_owned(), sampler };
        assert_eq!(on, Ok(Some(expected)));
        let both = read(&[ENDPOINT, ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://other:1")]);
        assert_eq!(both.ok().flatten().map(|settings| settings.endpoint), Some("http://other:1".to_owned()));
    }

    #[test]
    fn what_cannot_be_obeyed_is_refused_by_name() {
        for (variable, value) in [
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf"),
            ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "http/json"),
            ("OTEL_TRACES_EXPORTER", "zipkin"),
            ("OTEL_TRACES_SAMPLER", "sometimes"),
        ] {
            let error = read(&[ENDPOINT, (variable, value)]).expect_err("must be refused").to_string();
            assert!(error.contains(variable) && error.contains("write"), "{error}");
        }
        let ratio = [ENDPOINT, ("OTEL_TRACES_SAMPLER", "traceidratio"), ("OTEL_TRACES_SAMPLER_ARG", "2")];
        assert!(read(&ratio).is_err());
    }

    #[test]
    fn a_sampler_obeys_the_submitter_only_where_it_says_so() {
        let keeps =
            |name: &str, parent| read_sampler(Some(name.to_owned()), None).expect("known").keeps(1, parent);
        assert!(keeps("always_on", Some(false)));
        assert!(!keeps("always_off", Some(true)));
        assert!(!keeps("parentbased_always_on", Some(false)));
        assert!(keeps("parentbased_always_on", None));
        assert!(keeps("parentbased_always_off", Some(true)));
        assert!(!keeps("parentbased_always_off", None));
    }

    #[test]
    fn a_ratio_is_kept_over_task_ids_too() {
        let sampler = Sampler { follows_parent: true, ratio: 0.25 };
        // As task ids are: version 7 with the same fixed bits, made in the same millisecond, the same shard at the end.
        let base: u128 = 0x0190_5c1e_7a11_7000_8000_0000_0000_0003;
        let kept = (0..10_000_u128).filter(|n| sampler.keeps(base + (n << 16), None)).count();
        assert!((2_000..3_000).contains(&kept), "{kept} of 10000");
    }
}
