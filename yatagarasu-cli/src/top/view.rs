//! Draws the state of a server.

use std::env;

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style as Look};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Borders, Cell, Paragraph, Row, Sparkline, Table};

use super::history::{History, float, sum};
use super::snapshot::{Bucket, Snapshot};
use crate::words::{counted, duration, shown, size};

/// Number of seconds that rates are about: the bytes of a stream go out in bursts.
const SECONDS: usize = 3;

/// Width of a number with its name.
const FIELD: u16 = 25;

/// A window with fewer lines has shorter parts.
const LOW: u16 = 30;

/// A window with fewer columns shows less about caches.
const NARROW: u16 = 100;

/// Colours and emphasis.
#[derive(Debug, Clone, Copy)]
pub(super) struct Style {
    colours: bool,
}

impl Style {
    /// Uses colours unless `NO_COLOR` says not to.
    pub(super) fn of_environment() -> Self {
        Self { colours: env::var_os("NO_COLOR").is_none_or(|value| value.is_empty()) }
    }

    fn of(self, colour: Color) -> Look {
        if self.colours { Look::new().fg(colour) } else { Look::new() }
    }

    fn bad(self) -> Look {
        self.of(Color::Red).add_modifier(Modifier::BOLD)
    }
}

/// Draws the screen. A window that is too small cuts off the lower parts.
pub(super) fn draw(frame: &mut Frame<'_>, history: &History, url: &str, is_lost: bool, style: Style) {
    let Some(now) = history.latest() else {
        frame.render_widget(Paragraph::new("waiting for the server ..."), frame.area());
        return;
    };
    let area = frame.area();
    let buckets = u16::try_from(now.buckets.len()).unwrap_or(u16::MAX).min(8) + 2;
    let (curve, errors) = if area.height < LOW { (3, 4) } else { (6, 7) };
    let fields = fields(history, now, style);
    let columns = usize::from((area.width / FIELD).clamp(1, 4));
    let rows: Vec<_> = fields.chunks(columns).map(|row| Line::from(row.to_vec())).collect();
    let [head, numbers, curve, table, middle, errors] = Layout::vertical([
        Constraint::Length(1),
        Constraint::Length(u16::try_from(rows.len()).unwrap_or(u16::MAX) + 1),
        Constraint::Length(curve),
        Constraint::Length(buckets),
        Constraint::Min(4),
        Constraint::Length(errors),
    ])
    .areas(area);
    frame.render_widget(heading(now, url, is_lost, style), head);
    frame.render_widget(Paragraph::new(rows).block(Block::new().borders(Borders::TOP)), numbers);
    draw_curve(frame, curve, history, style);
    frame.render_widget(bucket_table(history, now, style, area.width < NARROW), table);
    let [hottest, streams] = Layout::horizontal([Constraint::Percentage(50); 2]).areas(middle);
    frame.render_widget(hottest_table(now), hottest);
    frame.render_widget(stream_table(now), streams);
    frame.render_widget(error_table(now, style), errors);
}

fn heading(now: &Snapshot, url: &str, is_lost: bool, style: Style) -> Line<'static> {
    let bold = Look::new().add_modifier(Modifier::BOLD);
    let name = Span::styled(format!("Yatagarasu {}", now.version), bold);
    let state = if is_lost {
        Span::styled("   no connection, trying again: these are old numbers", style.bad())
    } else {
        Span::raw(format!("   up {}", duration(seconds(now.uptime_seconds))))
    };
    Line::from(vec![name, state, Span::raw(format!("   {url}   q quits"))])
}

/// Returns the numbers with their names. The caller places them in columns.
fn fields(history: &History, now: &Snapshot, style: Style) -> Vec<Span<'static>> {
    let per_second = |total: fn(&Snapshot) -> u64| history.rate(total, SECONDS);
    let ratio = |ratio: Option<f64>| ratio.map_or("-".to_owned(), |ratio| format!("{:.1}%", ratio * 100.0));
    let time = |counts: fn(&Snapshot) -> &Vec<u64>, quantile| {
        history.quantile(counts, quantile).map_or("-".to_owned(), short_time)
    };
    let failures = per_second(|one| one.statuses.get("5xx").copied().unwrap_or(0));
    let failing = if failures > 0.0 { style.bad() } else { Look::new() };
    vec![
        field("requests/s", number(per_second(|one| sum(&one.requests)))),
        field("to clients", format!("{}/s", size(whole(per_second(|one| sum(&one.bytes)))))),
        field("hit ratio", ratio(history.hit_ratio(|one| &one.requests))),
        field("byte-hit ratio", ratio(history.hit_ratio(|one| &one.bytes))),
        field("S3 requests/s", number(per_second(|one| one.source.requests))),
        field("from S3", format!("{}/s", size(whole(per_second(|one| one.source.bytes))))),
        field("S3 failed/s", number(per_second(|one| one.source.failed))),
        field("5xx/s", number(failures)).style(failing),
        field("memory p50", time(|one| &one.latency.memory, 0.5)),
        field("memory p99", time(|one| &one.latency.memory, 0.99)),
        field("S3 p50", time(|one| &one.latency.source, 0.5)),
        field("S3 p99", time(|one| &one.latency.source, 0.99)),
        field("connections", now.connections.open),
        field("running", now.running),
        field("streams", now.streams.len()),
        field("resident", size(now.memory.resident_bytes)),
    ]
}

fn field(name: &str, value: impl std::fmt::Display) -> Span<'static> {
    Span::raw(format!("{:<width$}", format!("{name} {value}"), width = usize::from(FIELD)))
}

fn draw_curve(frame: &mut Frame<'_>, area: Rect, history: &History, style: Style) {
    let rates: Vec<u64> = history.rates(|one| sum(&one.requests)).into_iter().map(whole).collect();
    let shown = rates.len().saturating_sub(area.width.into());
    let highest = rates[shown..].iter().max().copied().unwrap_or(0);
    let title = format!("requests/s, {highest} at most");
    let block = Block::new().borders(Borders::TOP).title(title);
    let curve = Sparkline::default().data(&rates[shown..]).style(style.of(Color::Cyan)).block(block);
    frame.render_widget(curve, area);
}

/// Returns the block of a part of the screen, with its name.
fn part(name: &'static str) -> Block<'static> {
    Block::new().borders(Borders::TOP).title(name)
}

fn bucket_table(history: &History, now: &Snapshot, style: Style, is_narrow: bool) -> Table<'static> {
    let rows = now.buckets.iter().map(|bucket| {
        let of = |total: fn(&Bucket) -> u64| {
            history.rate(
                |one| one.buckets.iter().find(|other| other.name == bucket.name).map_or(0, total),
                SECONDS,
            )
        };
        let ratio = if bucket.for_objects > 0 {
            format!("{:.1}%", float(bucket.hits) * 100.0 / float(bucket.for_objects))
        } else {
            "-".to_owned()
        };
        let cache = match bucket.cache_bytes_max {
            0 => "no cache".to_owned(),
            max if is_narrow => format!("{} of {}", size(bucket.cache_bytes), size(max)),
            max => {
                let objects = counted(bucket.objects, "object");
                format!("{objects}, {} of {}", size(bucket.cache_bytes), size(max))
            }
        };
        let (health, look) = match (bucket.up, bucket.credentials_valid) {
            (false, _) => ("S3 is down", style.bad()),
            (true, false) => ("no credentials", style.bad()),
            (true, true) => ("up", Look::new()),
        };
        Row::new([
            Cell::new(shown(&bucket.name)),
            Cell::new(number(of(|one| one.requests))),
            Cell::new(format!("{}/s", size(whole(of(|one| one.bytes))))),
            Cell::new(ratio),
            Cell::new(cache),
            Cell::new(health).style(look),
        ])
    });
    let widths = [
        Constraint::Min(12),
        Constraint::Length(10),
        Constraint::Length(12),
        Constraint::Length(7),
        Constraint::Length(if is_narrow { 18 } else { 34 }),
        Constraint::Length(14),
    ];
    let heads = ["bucket", "requests/s", "bytes/s", "hits", "cache", "S3"];
    Table::new(rows, widths).header(heads_of(heads)).block(Block::new())
}

fn heads_of<const N: usize>(heads: [&'static str; N]) -> Row<'static> {
    Row::new(heads).style(Look::new().add_modifier(Modifier::UNDERLINED))
}

fn hottest_table(now: &Snapshot) -> Table<'static> {
    let rows = now.hottest.iter().map(|hot| {
        Row::new([hot.requests.to_string(), format!("{}/{}", shown(&hot.bucket), shown(&hot.key))])
    });
    Table::new(rows, [Constraint::Length(9), Constraint::Fill(1)])
        .block(part("hottest objects, last minutes"))
}

fn stream_table(now: &Snapshot) -> Table<'static> {
    let rows = now.streams.iter().map(|stream| {
        let done = match stream.length {
            Some(length) if length > 0 => format!("{:.0}%", float(stream.sent) * 100.0 / float(length)),
            _ => size(stream.sent),
        };
        let name = format!("{}/{}", shown(&stream.bucket), shown(&stream.key));
        Row::new([done, duration(seconds(stream.seconds)), name])
    });
    let widths = [Constraint::Length(9), Constraint::Length(8), Constraint::Fill(1)];
    Table::new(rows, widths).block(part("streams"))
}

fn error_table(now: &Snapshot, style: Style) -> Table<'static> {
    let rows = now.errors.iter().map(|error| {
        let path = error.path.as_deref().map_or("-".to_owned(), shown);
        let text = error.error.as_deref().map(shown).unwrap_or_default();
        Row::new([error.status.to_string(), path, text, shown(&error.request_id)])
    });
    let widths =
        [Constraint::Length(4), Constraint::Percentage(25), Constraint::Fill(1), Constraint::Length(32)];
    let name = if now.errors.is_empty() { "no request has failed" } else { "recent errors" };
    Table::new(rows, widths).style(style.of(Color::Red)).block(part(name))
}

fn number(value: f64) -> String {
    if value >= 100.0 || value == 0.0 { format!("{value:.0}") } else { format!("{value:.1}") }
}

/// Returns a time with its unit and at most three digits.
fn short_time(seconds: f64) -> String {
    let (value, unit) = match seconds {
        small if small < 1e-3 => (small * 1e6, "us"),
        middle if middle < 1.0 => (middle * 1e3, "ms"),
        large => (large, "s"),
    };
    if value >= 10.0 { format!("{value:.0} {unit}") } else { format!("{value:.1} {unit}") }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "rates are not negative")]
fn whole(value: f64) -> u64 {
    value.round() as u64
}

fn seconds(value: f64) -> u64 {
    whole(value.floor())
}

#[cfg(test)]
mod tests {
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;

    use super::*;

    fn snapshot(uptime: f64, hits: u64) -> Snapshot {
        serde_json::from_value(serde_json::json!({
            "uptime_seconds": uptime, "version": "0.1.0",
            "requests": { "hit": hits, "miss": 10, "own": 0 }, "bytes": { "hit": hits * 1000, "miss": 0 },
            "statuses": { "2xx": hits, "5xx": 1 },
            "source": { "requests": 10, "failed": 1, "bytes": 10_000 },
            "latency": { "bounds": [0.001, 0.002], "memory": [hits, 0, 0], "source": [0, 10, 0] },
            "connections": { "open": 3, "max": 100 }, "running": 2,
            "memory": { "resident_bytes": 40_000_000 },
            "buckets": [{ "bucket": "assets", "requests": hits, "for_objects": hits, "hits": hits, "bytes": hits * 1000, "objects": 7,
                "cache_bytes": 5_000_000, "cache_bytes_max": 10_000_000, "up": false, "credentials_valid": true }],
            "hottest": [{ "bucket": "assets", "key": "css/\u{1b}a.css", "requests": 42 }],
            "streams": [{ "bucket": "videos", "key": "a.mp4", "sent": 25, "length": 100, "seconds": 61.5 }],
            "errors": [{ "status": 502, "path": "/static/x", "request_id": "id-1", "error": "S3 answers 500" }],
        }))
        .unwrap()
    }

    fn drawn(width: u16, height: u16, snapshots: &[Snapshot]) -> String {
        let mut history = History::default();
        for one in snapshots {
            history.add(one.clone());
        }
        let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
        let style = Style { colours: true };
        terminal.draw(|frame| draw(frame, &history, "http://h:1", false, style)).unwrap();
        terminal.backend().to_string()
    }

    #[test]
    fn numbers_lists_and_errors_are_drawn() {
        let text = drawn(120, 40, &[snapshot(3600.0, 100), snapshot(3601.0, 300)]);
        for wanted in [
            "Yatagarasu 0.1.0   up 1h   http://h:1   q quits",
            "requests/s 200 ",
            "to clients 200 KB/s",
            "hit ratio 100.0%",
            "memory p50 500 us",
            "requests/s, 200 at most",
            "assets",
            "7 objects, 5 MB of 10 MB",
            "S3 is down",
            "42        assets/css/\u{fffd}a.css",
            "25%       1m 1s    videos/a.mp4",
            "502",
            "S3 answers 500",
            "id-1",
        ] {
            assert!(text.contains(wanted), "{wanted} in\n{text}");
        }
        assert!(!text.contains('\u{1b}'), "a key gives the terminal no orders");
    }

    #[test]
    fn a_usual_window_has_all_numbers() {
        let text = drawn(80, 24, &[snapshot(3600.0, 100), snapshot(3601.0, 300)]);
        for wanted in [
            "byte-hit ratio 100.0%",
            "5xx/s 0",
            "S3 p99",
            "resident 40 MB",
            "assets ",
            "200 KB/s",
            "5 MB of 10 MB",
            "S3 is down",
            "assets/css",
            "videos/a.mp4",
            "S3 answers 500",
        ] {
            assert!(text.contains(wanted), "{wanted} in\n{text}");
        }
    }

    #[test]
    fn any_window_will_do() {
        for (width, height) in [(1, 1), (20, 5), (80, 24), (300, 100)] {
            drawn(width, height, &[]);
            drawn(width, height, &[snapshot(1.0, 1)]);
        }
    }
}
