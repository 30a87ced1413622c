//! What one breaker promises, one promise a test.

use super::*;

const TERMS: BreakerTerms = BreakerTerms {
    consecutive: 3,
    failure_percent: 50,
    min_results: 8,
    open_for: Span::from_secs(10),
    open_at_most: Span::from_secs(30),
    probes: 1,
    probes_to_close: 2,
};

fn at(seconds: u64) -> Timestamp {
    Timestamp(0).plus(Span::from_secs(seconds))
}

fn run(breaker: &mut Breaker, verdict: Verdict, now: Timestamp) -> bool {
    breaker.tick(&TERMS, now);
    assert_ne!(breaker.room(), Some(0), "it lets nothing through");
    let probe = breaker.start(&TERMS, now);
    breaker.end(&TERMS, probe, verdict, true, now)
}

fn opened() -> Breaker {
    let mut breaker = Breaker::default();
    for _ in 0..3 {
        run(&mut breaker, Verdict::Bad, at(0));
    }
    breaker
}

#[test]
fn failures_in_a_row_open_it() {
    let mut breaker = Breaker::default();
    assert!(!run(&mut breaker, Verdict::Bad, at(0)));
    assert!(!run(&mut breaker, Verdict::Bad, at(0)));
    assert!(run(&mut breaker, Verdict::Bad, at(0)));
    assert!(!breaker.tick(&TERMS, at(9)));
    assert_eq!((breaker.room(), breaker.next_tick()), (Some(0), Some(at(10))));
    let BreakerInfo { failed, results, since, .. } = breaker.info();
    assert_eq!((failed, results, since), (3, 3, Some(at(0))));
}

#[test]
fn half_of_many_results_open_it_though_never_three_in_a_row() {
    let mut breaker = Breaker::default();
    let opened_after = (1..=20).find(|n| {
        let verdict = if n % 2 == 0 { Verdict::Bad } else { Verdict::Good };
        run(&mut breaker, verdict, at(0))
    });
    assert_eq!(opened_after, Some(8));
}

#[test]
fn attempts_that_were_called_back_say_nothing() {
    let mut breaker = Breaker::default();
    run(&mut breaker, Verdict::Bad, at(0));
    run(&mut breaker, Verdict::Bad, at(0));
    for _ in 0..50 {
        run(&mut breaker, Verdict::Nothing, at(0));
    }
    assert!(breaker.is_closed());
    assert!(run(&mut breaker, Verdict::Bad, at(0)));
}

#[test]
fn one_probe_at_a_time_and_two_good_ones_close_it() {
    let mut breaker = opened();
    assert!(breaker.tick(&TERMS, at(10)));
    let probe = breaker.start(&TERMS, at(10));
    assert!(probe.is_some());
    assert_eq!(breaker.room(), Some(0), "one probe runs already");
    assert!(breaker.end(&TERMS, probe, Verdict::Good, true, at(11)));
    assert_eq!(breaker.info().state, BreakerState::HalfOpen);
    assert!(run(&mut breaker, Verdict::Good, at(11)));
    assert!(breaker.is_closed());
    assert_eq!(breaker.info().since, None);
}

#[test]
fn a_bad_probe_opens_it_again_for_longer_but_not_for_ever() {
    let mut breaker = opened();
    assert!(run(&mut breaker, Verdict::Bad, at(10)));
    assert_eq!(breaker.until(), Some(at(30)));
    assert!(run(&mut breaker, Verdict::Bad, at(30)));
    assert_eq!(breaker.until(), Some(at(60)), "thirty seconds are the most");
    assert_eq!(breaker.info().openings, 3);
    assert_eq!(breaker.info().since, Some(at(0)), "it was never closed between");
}

#[test]
fn what_started_before_it_opened_counts_for_nothing() {
    let mut breaker = Breaker::default();
    let old = breaker.start(&TERMS, at(10));
    for _ in 0..3 {
        run(&mut breaker, Verdict::Bad, at(0));
    }
    assert!(!breaker.end(&TERMS, old, Verdict::Good, true, at(5)));
    assert_eq!(breaker.room(), Some(0));
}

#[test]
fn a_probe_that_is_called_back_makes_room_for_another() {
    let mut breaker = opened();
    breaker.tick(&TERMS, at(10));
    let probe = breaker.start(&TERMS, at(10));
    assert!(breaker.end(&TERMS, probe, Verdict::Nothing, true, at(11)));
    assert_eq!(breaker.room(), Some(1));
}

#[test]
fn a_probe_that_takes_long_or_is_lost_lets_another_one_through_after_a_while() {
    let mut breaker = opened();
    breaker.tick(&TERMS, at(10));
    let slow = breaker.start(&TERMS, at(10));
    assert!(!breaker.tick(&TERMS, at(19)));
    assert!(breaker.tick(&TERMS, at(20)));
    assert_eq!(breaker.room(), Some(1));
    let failed = breaker.start(&TERMS, at(10));
    breaker.end(&TERMS, failed, Verdict::Bad, true, at(21));
    breaker.tick(&TERMS, at(41));
    assert!(!breaker.end(&TERMS, slow, Verdict::Bad, true, at(42)), "it belongs to an earlier time");
    assert_eq!(breaker.room(), Some(1));
}

#[test]
fn one_that_flaps_stays_open_longer_each_time_until_it_has_been_good_for_a_while() {
    let flap = |breaker: &mut Breaker, now: Timestamp| {
        run(breaker, Verdict::Good, now);
        run(breaker, Verdict::Good, now);
        assert!(breaker.is_closed());
    };
    let mut breaker = opened();
    flap(&mut breaker, at(10));
    for _ in 0..3 {
        run(&mut breaker, Verdict::Bad, at(10));
    }
    assert_eq!(breaker.until(), Some(at(30)), "twice as long");
    flap(&mut breaker, at(30));
    for _ in 0..8 {
        run(&mut breaker, Verdict::Good, at(30));
    }
    assert!(breaker.is_blank());
    for _ in 0..3 {
        run(&mut breaker, Verdict::Bad, at(30));
    }
    assert_eq!(breaker.until(), Some(at(40)));
}

#[test]
fn terms_of_zero_never_open_it() {
    let off = BreakerTerms { consecutive: 0, failure_percent: 0, ..TERMS };
    let mut breaker = Breaker::default();
    for _ in 0..100 {
        assert!(!breaker.end(&off, None, Verdict::Bad, true, at(0)));
    }
    assert!(breaker.is_closed());
}
