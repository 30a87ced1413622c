//! Page tokens: opaque to clients, checked when they come back. A token is bound to the filter it was made under, so
//! that a page of one list is never continued in another.

use prost::Message;
use uuid::Uuid;

use crate::{
    runtime::PageAfter,
    types::{
        ids::{EscalationId, TaskId},
        time::Timestamp,
    },
};

use super::{convert::faults::Faults, status::Fault};

/// The largest page.
const MAX_PAGE: i32 = 1_000;
/// Bytes of a page, but for a single row that is larger: gRPC clients receive 4 MiB unless told otherwise.
const MAX_PAGE_BYTES: usize = 3 << 20;
/// The UUID namespace of filters.
const FILTERS: Uuid = Uuid::from_u128(0x6261_696c_6977_4963_8b00_0000_0000_0004);

/// Bytes of a token: scope, number, id, small number.
const TOKEN_BYTES: usize = 4 + 8 + 16 + 4;

/// A list under one filter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Scope(u32);

impl Scope {
    /// The scope of a request. Pass it with its page fields cleared: those differ from page to page.
    pub(crate) fn of(list: &str, request: &impl Message) -> Self {
        let mut name = list.as_bytes().to_vec();
        name.extend(request.encode_to_vec());
        let bytes = Uuid::new_v5(&FILTERS, &name).into_bytes();
        Self(u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
    }

    fn encode(self, number: u64, id: Uuid, small: u32) -> String {
        let mut bytes = Vec::with_capacity(TOKEN_BYTES);
        bytes.extend(self.0.to_be_bytes());
        bytes.extend(number.to_be_bytes());
        bytes.extend(id.into_bytes());
        bytes.extend(small.to_be_bytes());
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    fn decode(self, token: &str) -> Result<Option<(u64, Uuid, u32)>, Fault> {
        if token.is_empty() {
            return Ok(None);
        }
        let bad = || {
            Fault::field(
                "page_token",
                "is not from this list under this filter: send next_page_token unchanged, or leave it out",
            )
        };
        let bytes = unhex(token).ok_or_else(bad)?;
        let (scope, rest) = bytes.split_first_chunk::<4>().ok_or_else(bad)?;
        let (number, rest) = rest.split_first_chunk::<8>().ok_or_else(bad)?;
        let (id, rest) = rest.split_first_chunk::<16>().ok_or_else(bad)?;
        let small: [u8; 4] = rest.try_into().map_err(|_| bad())?;
        if u32::from_be_bytes(*scope) != self.0 {
            return Err(bad());
        }
        Ok(Some((u64::from_be_bytes(*number), Uuid::from_bytes(*id), u32::from_be_bytes(small))))
    }

    /// The token of a place among tasks.
    pub(crate) fn after_task(self, place: PageAfter) -> String {
        self.encode(place.created_at.0, place.task.uuid(), 0)
    }

    /// The place among tasks of a token.
    pub(crate) fn task(self, token: &str) -> Result<Option<PageAfter>, Fault> {
        let place = self.decode(token)?;
        Ok(place.map(|(at, id, _)| PageAfter { created_at: Timestamp(at), task: TaskId::from(id) }))
    }

    /// The token of a place among questions.
    pub(crate) fn after_escalation(self, asked_at: Timestamp, id: EscalationId) -> String {
        self.encode(asked_at.0, id.task.uuid(), id.number)
    }

    /// The place among questions of a token.
    pub(crate) fn escalation(self, token: &str) -> Result<Option<(Timestamp, EscalationId)>, Fault> {
        let place = self.decode(token)?;
        Ok(place.map(|(at, id, number)| (Timestamp(at), EscalationId { task: TaskId::from(id), number })))
    }

    /// The token of a place in a list that only grows.
    pub(crate) fn after_index(self, index: usize) -> String {
        self.encode(index as u64, Uuid::nil(), 0)
    }

    /// The place of a token in a list that only grows.
    pub(crate) fn index(self, token: &str) -> Result<usize, Fault> {
        let place = self.decode(token)?;
        Ok(place.map_or(0, |(index, _, _)| usize::try_from(index).unwrap_or(usize::MAX)))
    }
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    if text.len() != 2 * TOKEN_BYTES || !text.bytes().all(|b| b.is_ascii_hexdigit()) {
        return None;
    }
    (0..TOKEN_BYTES).map(|i| u8::from_str_radix(&text[2 * i..2 * i + 2], 16).ok()).collect()
}

/// The size of a page: `default` where none is asked for.
pub(crate) fn size(asked: i32, default: usize, faults: &mut Faults) -> usize {
    if !(0..=MAX_PAGE).contains(&asked) {
        faults.add("page_size", format!("is {asked}: write a number from 1 to {MAX_PAGE}"));
    }
    match usize::try_from(asked) {
        Ok(0) | Err(_) => default,
        Ok(size) => size,
    }
}

/// Cuts the page that was read with one row to spare, at `size` rows or at what a client can receive; what is left over
/// comes on the next page, after the last shown.
pub(crate) fn cut<T, M: Message>(
    rows: &[T],
    size: usize,
    out: impl Fn(&T) -> M,
    token: impl FnOnce(&T) -> String,
) -> (Vec<M>, String) {
    let (mut page, mut bytes, mut last) = (Vec::new(), 0, None);
    for row in rows.iter().take(size) {
        let message = out(row);
        bytes += message.encoded_len();
        if bytes > MAX_PAGE_BYTES && !page.is_empty() {
            break;
        }
        page.push(message);
        last = Some(row);
    }
    let token = last.filter(|_| page.len() < rows.len()).map(token).unwrap_or_default();
    (page, token)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pb;

    #[test]
    fn a_page_is_cut_at_its_size_or_at_what_a_client_can_receive() {
        let cut = |bytes: usize, size| {
            let rows = ["a", "b", "c", "d", "e"];
            let out = |_: &&str| pb::Escalation { question: "x".repeat(bytes), ..Default::default() };
            let (page, token) = cut(&rows, size, out, |last| (*last).to_owned());
            (page.len(), token)
        };
        assert_eq!(cut(10, 5), (5, String::new()));
        assert_eq!(cut(10, 2), (2, "b".to_owned()));
        assert_eq!(cut(1 << 20, 5), (2, "b".to_owned()));
        assert_eq!(cut(4 << 20, 5), (1, "a".to_owned()), "at least one");
    }

    fn scope(agent: &str) -> Scope {
        Scope::of("tasks", &pb::ListTasksRequest { agent: agent.into(), ..Default::default() })
    }

    #[test]
    fn tokens_come_back_as_they_went_under_the_same_filter_only() {
        let place = PageAfter { created_at: Timestamp(17), task: TaskId::from(Uuid::from_u128(99)) };
        let token = scope("a").after_task(place);
        assert_eq!(scope("a").task(&token), Ok(Some(place)));
        assert!(scope("b").task(&token).is_err());
        let id = EscalationId { task: place.task, number: 3 };
        let token = scope("a").after_escalation(Timestamp(5), id);
        assert_eq!(scope("a").escalation(&token), Ok(Some((Timestamp(5), id))));
        assert_eq!(scope("a").index(&scope("a").after_index(7)), Ok(7));
    }

    #[test]
    fn no_token_is_the_first_page_and_another_text_is_refused() {
        assert_eq!(scope("a").task(""), Ok(None));
        assert_eq!(scope("a").index(""), Ok(0));
        let good = scope("a").after_index(7);
        let (shorter, longer) = (&good[1..], format!("{good}0"));
        let foreign = format!("é{}", &good[2..]);
        for bad in ["x", "00", shorter, &longer, &foreign, &"zz".repeat(TOKEN_BYTES)] {
            assert!(scope("a").task(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_size_of_a_page_has_a_default_and_bounds() {
        let mut faults = Faults::default();
        assert_eq!((size(0, 50, &mut faults), size(7, 50, &mut faults)), (50, 7));
        assert!(faults.sorted().is_empty());
        for bad in [-1, 1_001] {
            let mut faults = Faults::default();
            size(bad, 50, &mut faults);
            assert_eq!(faults.sorted().len(), 1);
        }
    }
}
