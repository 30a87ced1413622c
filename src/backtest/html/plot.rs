//! Plots as inline SVG: bars, points, stacked columns. Pure: figures in, text out. Colours are classes of the page's style, so
//! that both themes work. Never here: a figure that is not given, or text that is not escaped.

use std::fmt::Write;

/// Text as it may stand in HTML, in an element or in a quoted attribute.
#[must_use]
pub fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c if c.is_control() && c != '\n' => out.push(' '),
            c => out.push(c),
        }
    }
    out
}

/// How many colours the style has; series beyond share them.
pub const COLOURS: usize = 6;

/// The class of a series.
#[must_use]
pub fn colour(series: usize) -> String {
    format!("s{}", series % COLOURS)
}

const WIDTH: f64 = 720.0;
/// Where the plane begins, left and top, and what is kept free, right and below.
const LEFT: f64 = 56.0;
const TOP: f64 = 14.0;
const RIGHT: f64 = 20.0;
const BELOW: f64 = 44.0;

/// A bar of a group.
#[derive(Debug, Clone, PartialEq)]
pub struct Bar {
    /// Which series.
    pub series: usize,
    /// A share, 0 to 1.
    pub share: f64,
    /// What stands beside it.
    pub label: String,
}

/// Horizontal bars in groups, each with its name on the left; shares of one.
#[must_use]
pub fn bars(title: &str, groups: &[(String, Vec<Bar>)]) -> String {
    const NAMES: f64 = 190.0;
    const BAR: f64 = 16.0;
    const GAP: f64 = 14.0;
    let lines: usize = groups.iter().map(|(_, bars)| bars.len()).sum();
    let height = GAP + lines as f64 * BAR + groups.len() as f64 * GAP;
    let scale = WIDTH - NAMES - 110.0;
    let mut body = String::new();
    let mut y = GAP;
    for (name, bars) in groups {
        let middle = y + bars.len() as f64 * BAR / 2.0 + 4.0;
        text(&mut body, NAMES - 10.0, middle, "end", name);
        for bar in bars {
            let width = (bar.share.clamp(0.0, 1.0) * scale).max(1.0);
            let _ = write!(
                body,
                "<rect class=\"{}\" x=\"{NAMES}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{:.1}\" rx=\"2\"><title>{}: {}</title></rect>",
                colour(bar.series),
                BAR - 3.0,
                escape(name),
                escape(&bar.label),
            );
            text(&mut body, NAMES + width + 6.0, y + BAR - 6.0, "start", &bar.label);
            y += BAR;
        }
        y += GAP;
    }
    frame(title, height, &body)
}

/// A point.
#[derive(Debug, Clone, PartialEq)]
pub struct Point {
    /// Which series.
    pub series: usize,
    /// Across.
    pub x: f64,
    /// Up.
    pub y: f64,
    /// What stands beside it.
    pub label: String,
}

/// An axis: what it says, and how far it goes at least.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Axis<'a> {
    /// What is counted.
    pub name: &'a str,
    /// Where it ends at least.
    pub reach: f64,
}

/// Points in per cent on both axes, with a line across at `limit` of x, where one is asked for.
#[must_use]
pub fn points(title: &str, x: Axis<'_>, y: Axis<'_>, limit: Option<f64>, points: &[Point]) -> String {
    let points = points.iter().filter(|point| point.x.is_finite() && point.y.is_finite());
    let plane = Plane {
        x: reach(x.reach, points.clone().map(|point| point.x)).min(100.0),
        y: reach(y.reach, points.clone().map(|point| point.y)).min(100.0),
        height: 320.0,
    };
    let mut body = plane.grid(x.name, y.name, "%");
    if let Some(limit) = limit {
        let at = plane.across(limit);
        let (top, bottom) = (TOP, plane.up(0.0));
        let _ = write!(
            body,
            "<line class=\"limit\" x1=\"{at:.1}\" x2=\"{at:.1}\" y1=\"{top}\" y2=\"{bottom}\"/>"
        );
        text(&mut body, at + 4.0, top + 10.0, "start", &format!("{limit} %"));
    }
    let mut taken: Vec<(f64, f64)> = Vec::new();
    for Point { series, x, y, label } in points {
        let (across, up) = (plane.across(*x), plane.up(*y));
        let _ = write!(
            body,
            "<circle class=\"{}\" cx=\"{across:.1}\" cy=\"{up:.1}\" r=\"5\"><title>{}: {x:.2} %, {y:.1} %</title></circle>",
            colour(*series),
            escape(label),
        );
        // Towards the middle, so that nothing is cut.
        let (dx, anchor) = if across > WIDTH * 0.7 { (-9.0, "end") } else { (9.0, "start") };
        let below = free_line(&taken, across, up);
        taken.push((across, below));
        text(&mut body, across + dx, below + 4.0, anchor, label);
    }
    frame(title, plane.height, &body)
}

/// The nearest height at which a label beside `across` lies over no other: at `up`, or above it line by line.
fn free_line(taken: &[(f64, f64)], across: f64, up: f64) -> f64 {
    const LINE: f64 = 13.0;
    const WIDE: f64 = 160.0;
    let is_free =
        |height: f64| taken.iter().all(|(x, y)| (x - across).abs() > WIDE || (y - height).abs() >= LINE);
    let lines = (0..=taken.len()).map(|line| up - line as f64 * LINE);
    lines.filter(|height| *height > TOP).find(|height| is_free(*height)).unwrap_or(up)
}

/// Columns of stacked counts: what stands below each, and a count for each series.
#[must_use]
pub fn columns(title: &str, x: &str, columns: &[(String, Vec<u64>)]) -> String {
    let sum = |counts: &[u64]| counts.iter().sum::<u64>() as f64;
    let plane = Plane {
        x: columns.len().max(1) as f64,
        // Five lines, each at a whole count.
        y: (reach(5.0, columns.iter().map(|(_, counts)| sum(counts))) / 5.0).ceil() * 5.0,
        height: 260.0,
    };
    let mut body = plane.grid("", "runs stopped", "");
    text(&mut body, LEFT + (WIDTH - LEFT - RIGHT) / 2.0, plane.height - 8.0, "middle", x);
    let every = columns.len().div_ceil(16).max(1);
    for (at, (name, counts)) in columns.iter().enumerate() {
        let (left, right) = (plane.across(at as f64) + 1.0, plane.across(at as f64 + 1.0) - 1.0);
        let mut below = 0.0;
        for (series, count) in counts.iter().enumerate().filter(|(_, count)| **count > 0) {
            let (bottom, top) = (plane.up(below), plane.up(below + *count as f64));
            below += *count as f64;
            let _ = write!(
                body,
                "<rect class=\"{}\" x=\"{left:.1}\" y=\"{top:.1}\" width=\"{:.1}\" height=\"{:.1}\"><title>{}: {count}</title></rect>",
                colour(series),
                (right - left).max(1.0),
                bottom - top,
                escape(name),
            );
        }
        if at.is_multiple_of(every) {
            text(&mut body, f64::midpoint(left, right), plane.up(0.0) + 15.0, "middle", name);
        }
    }
    frame(title, plane.height, &body)
}

/// The names of series with their colours.
#[must_use]
pub fn legend(names: &[String]) -> String {
    let mut out = String::from("<p class=\"legend\">");
    for (series, name) in names.iter().enumerate() {
        let _ = write!(out, "<span><i class=\"{}\"></i>{}</span>", colour(series), escape(name));
    }
    out.push_str("</p>\n");
    out
}

/// A plane with its origin below left.
struct Plane {
    x: f64,
    y: f64,
    height: f64,
}

impl Plane {
    fn across(&self, x: f64) -> f64 {
        LEFT + (x / self.x).clamp(0.0, 1.0) * (WIDTH - LEFT - RIGHT)
    }

    fn up(&self, y: f64) -> f64 {
        let plane = self.height - TOP - BELOW;
        TOP + plane - (y / self.y).clamp(0.0, 1.0) * plane
    }

    /// Lines with figures; across only where there is a name for it.
    fn grid(&self, x: &str, y: &str, unit: &str) -> String {
        const LINES: u32 = 5;
        let mut out = String::new();
        for line in 0..=LINES {
            let part = f64::from(line) / f64::from(LINES);
            let (up, right) = (self.up(part * self.y), WIDTH - RIGHT);
            let _ = write!(
                out,
                "<line class=\"grid\" x1=\"{LEFT}\" x2=\"{right}\" y1=\"{up:.1}\" y2=\"{up:.1}\"/>"
            );
            text(&mut out, LEFT - 6.0, up + 4.0, "end", &figure(part * self.y, unit));
            if !x.is_empty() {
                let (at, below) = (self.across(part * self.x), self.up(0.0) + 16.0);
                text(&mut out, at, below, "middle", &figure(part * self.x, unit));
            }
        }
        text(&mut out, LEFT + (WIDTH - LEFT - RIGHT) / 2.0, self.height - 8.0, "middle", x);
        let middle = self.height / 2.0;
        let _ = write!(
            out,
            "<text text-anchor=\"middle\" transform=\"translate(12 {middle:.1}) rotate(-90)\">{}</text>",
            escape(y)
        );
        out
    }
}

fn figure(value: f64, unit: &str) -> String {
    if value.fract().abs() < 0.05 || value >= 20.0 {
        format!("{value:.0}{unit}")
    } else {
        format!("{value:.1}{unit}")
    }
}

/// The least round end of an axis that holds every value.
fn reach(least: f64, values: impl Iterator<Item = f64>) -> f64 {
    let most = values.filter(|value| value.is_finite()).fold(least, f64::max);
    let mut unit = 1.0;
    while unit * 10.0 < most {
        unit *= 10.0;
    }
    let steps = [1.0, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0];
    steps.iter().map(|step| step * unit).find(|end| *end >= most).unwrap_or(most)
}

fn text(out: &mut String, x: f64, y: f64, anchor: &str, text: &str) {
    let _ = write!(out, "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{}</text>", escape(text));
}

fn frame(title: &str, height: f64, body: &str) -> String {
    format!(
        "<svg viewBox=\"0 0 {WIDTH} {height:.0}\" role=\"img\" aria-label=\"{}\">{body}</svg>\n",
        escape(title)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn axes_end_at_round_figures_that_hold_everything() {
        let ends = [(1.0, 0.2), (1.0, 1.2), (1.0, 37.0), (1.0, 100.0), (1.0, 1_234.0), (5.0, f64::NAN)];
        let ends = ends.map(|(least, most)| reach(least, [most].into_iter()));
        assert_eq!(ends, [1.0, 1.5, 40.0, 100.0, 1_500.0, 5.0]);
    }

    #[test]
    fn names_from_outside_stay_text() {
        let name = "<script>'&\"\u{1b}";
        let escaped = "&lt;script&gt;&#39;&amp;&quot; ";
        let bar = Bar { series: 0, share: f64::NAN, label: name.into() };
        let point = |x| Point { series: 9, x, y: 200.0, label: name.into() };
        let axis = Axis { name, reach: 1.0 };
        for svg in [
            bars(name, &[(name.into(), vec![bar])]),
            points(name, axis, axis, Some(1.0), &[point(f64::NAN), point(0.5)]),
            columns(name, name, &[(name.into(), vec![0, 3])]),
            legend(&[name.into()]),
        ] {
            assert!(svg.contains(escaped) && !svg.contains("<script"), "{svg}");
            assert!(!svg.contains("=\"NaN"), "{svg}");
        }
    }
}
