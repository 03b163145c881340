//! Draws the model.

use ratatui::{
    Frame,
    layout::{Constraint, Layout, Rect},
    style::Style,
    text::{Line, Span},
    widgets::{Block, Clear, Paragraph},
};
use textwrap::core::display_width;

use super::{
    browse::{Browse, Page, Pane, Spot},
    detail,
    head::{draw_charts, header, losses},
    help::help_text,
    keys::{Action, Direction},
    look::Look,
    rows::{List, Row},
    state::State,
    table::{columns, fit, resolver, short, widths},
};
use crate::sink::{lines::counted, printable};

/// The least terminal in which the view makes sense.
const LEAST: (u16, u16) = (40, 8);
/// From this height on all panes of a page are shown, below it one at a time.
const TALL: u16 = 20;
/// From this height on the chart has more than one line.
const CHART_TALL: u16 = 30;
/// Fewer lines of a detail than this say too little beside a list.
const LEAST_DETAIL: u16 = 4;
/// The mark of a selected row, and its place.
const MARK: &str = "▸ ";

/// What is said about the run beside its events.
#[derive(Clone, Debug, Default)]
pub struct Caption {
    /// It happens now; else it is a recording.
    pub live: bool,
    /// Sentences about what is not seen.
    pub notes: Vec<String>,
    /// The mouse is leakmon's, and not the terminal's.
    pub mouse: bool,
    /// Queries and findings that came since the picture was stopped.
    pub paused: Option<(u64, u64)>,
}

/// Draws everything, and notes in `browse` what can be clicked where.
pub fn draw(
    frame: &mut Frame<'_>,
    state: &State,
    browse: &mut Browse,
    caption: &Caption,
    look: Look,
) {
    browse.spots.clear();
    let area = frame.area();
    if area.width < LEAST.0 || area.height < LEAST.1 {
        let text = format!(
            "leakmon needs {}x{}, this is {}x{} (q ends)",
            LEAST.0, LEAST.1, area.width, area.height
        );
        let lines = textwrap::wrap(&text, usize::from(area.width.max(1)));
        let lines: Vec<Line<'_>> = lines.into_iter().map(Line::from).collect();
        frame.render_widget(Paragraph::new(lines), area);
        return;
    }
    let losses = losses(state, usize::from(area.width), look);
    let chart = match area.height {
        ..10 => 0,
        10..CHART_TALL => 1,
        CHART_TALL.. => 3,
    };
    let [head, lost, charts, body, foot] = Layout::vertical([
        Constraint::Length(1),
        Constraint::Length(u16::try_from(losses.len().min(3)).unwrap_or(3)),
        Constraint::Length(chart),
        Constraint::Min(1),
        Constraint::Length(1),
    ])
    .areas(area);
    frame.render_widget(header(state, caption, look, usize::from(head.width)), head);
    frame.render_widget(Paragraph::new(losses), lost);
    draw_charts(frame, charts, state, look);
    let mut drawing = Drawing {
        state,
        browse,
        look,
    };
    if area.height >= TALL {
        drawing.stacked(frame, body);
    } else {
        drawing.one_at_a_time(frame, body);
    }
    drawing.footer(frame, foot);
    if drawing.browse.help().is_some() {
        drawing.help(frame, area, caption);
    }
}

struct Drawing<'a> {
    state: &'a State,
    browse: &'a mut Browse,
    look: Look,
}

impl Drawing<'_> {
    /// All panes of the page, one below the other, each as high as what is in it where that goes.
    fn stacked(&mut self, frame: &mut Frame<'_>, area: Rect) {
        let panes = self.browse.panes();
        let lines = self.detail(area.width).len();
        let lists = panes.len() - 1;
        let mut left = usize::from(area.height);
        for (index, pane) in panes.iter().enumerate() {
            let height = match pane {
                Pane::Detail => left,
                Pane::List(list) => {
                    // A title and a heading.
                    let wanted = self.browse.rows(self.state, *list).0.len().max(1) + 2;
                    let most = if lists > 1 && index == 0 {
                        // The apps leave room for what they leak.
                        usize::from(area.height) / 3
                    } else {
                        let detail = (lines + 1).min(left / 2).max(left / 3);
                        left - detail
                    };
                    wanted.min(most.max(3))
                }
            };
            let height = height.min(left);
            let place = Rect {
                y: area.bottom() - u16::try_from(left).unwrap_or(0),
                height: u16::try_from(height).unwrap_or(0),
                ..area
            };
            left -= height;
            self.pane(frame, place, index, *pane);
        }
    }

    /// A line that names the panes, and the focused one.
    fn one_at_a_time(&mut self, frame: &mut Frame<'_>, area: Rect) {
        let panes = self.browse.panes();
        let focus = self.browse.focus(self.state).min(panes.len() - 1);
        let mut bar = area;
        bar.height = 1;
        if panes.len() > 1 {
            let mut spans = Vec::new();
            let mut x = area.x;
            for (index, pane) in panes.iter().enumerate() {
                let title = match pane {
                    Pane::Detail => " Detail ".to_owned(),
                    Pane::List(list) => {
                        let (shown, _) = self.browse.rows(self.state, *list);
                        format!(" {} {} ", list_title(*list), shown.len())
                    }
                };
                let width = u16::try_from(display_width(&title)).unwrap_or(0);
                let place = Rect::new(x, area.y, width, 1).intersection(area);
                self.browse.spots.push((place, Spot::Pane(index)));
                x = x.saturating_add(width);
                let style = if index == focus {
                    self.look.selected()
                } else {
                    self.look.dim()
                };
                spans.push(Span::styled(title, style));
            }
            if self.filters() {
                spans.push(Span::styled(" filtered", self.look.warning()));
            }
            frame.render_widget(Line::from(spans), bar);
        } else {
            self.rule(frame, bar, focus, panes[focus], None);
        }
        let rest = Rect {
            y: area.y + 1,
            height: area.height - 1,
            ..area
        };
        let Pane::List(list) = panes[focus] else {
            self.text(frame, rest, focus);
            return;
        };
        let wanted = self.browse.rows(self.state, list).0.len().max(1) + 1;
        let wanted = u16::try_from(wanted).unwrap_or(u16::MAX);
        // A short list leaves room for what is to be said about its row.
        if wanted.saturating_add(LEAST_DETAIL) > rest.height {
            self.list(frame, rest, focus, list);
            return;
        }
        let [rows, below] =
            Layout::vertical([Constraint::Length(wanted), Constraint::Fill(1)]).areas(rest);
        self.list(frame, rows, focus, list);
        self.pane(frame, below, panes.len() - 1, Pane::Detail);
    }

    fn filters(&self) -> bool {
        !self.browse.filter().is_empty()
    }

    fn pane(&mut self, frame: &mut Frame<'_>, area: Rect, index: usize, pane: Pane) {
        if area.height == 0 {
            return;
        }
        self.browse.spots.push((area, Spot::Pane(index)));
        let [title, rest] =
            Layout::vertical([Constraint::Length(1), Constraint::Fill(1)]).areas(area);
        let more = match pane {
            Pane::List(list) => {
                self.list(frame, rest, index, list);
                None
            }
            Pane::Detail => Some(self.text(frame, rest, index)),
        };
        self.rule(frame, title, index, pane, more);
    }

    /// The title of a pane, on a line across.
    fn rule(
        &self,
        frame: &mut Frame<'_>,
        area: Rect,
        index: usize,
        pane: Pane,
        more: Option<usize>,
    ) {
        let focused = self.browse.focus(self.state) == index;
        let (title, right) = match pane {
            Pane::Detail => {
                let right = match more {
                    Some(more @ 1..) => counted(more as u64, "more line", "more lines"),
                    _ => String::new(),
                };
                (self.subject_title(), right)
            }
            Pane::List(list) => {
                let (shown, all) = self.browse.rows(self.state, list);
                let mut title = format!("{} {}", self.title_of(list), shown.len());
                if self.filters() {
                    title.push_str(&format!(" of {all}"));
                }
                let fallen = self.fallen(list);
                if fallen > 0 {
                    title.push_str(&format!(" ({} older ones fell out)", short(fallen)));
                }
                let mut right = format!("by {}", self.browse.sort(list).as_str());
                if self.filters() {
                    right = format!("filter {}, {right}", printable(self.browse.filter()));
                }
                (title, right)
            }
        };
        let width = usize::from(area.width);
        let mark = if focused { "━" } else { "─" };
        let (title_style, rule_style) = if focused {
            (self.look.bold(), Style::new())
        } else {
            (Style::new(), self.look.dim())
        };
        let right = if display_width(&right) + 12 > width || right.is_empty() {
            String::new()
        } else {
            format!(" {right} ")
        };
        let room = width.saturating_sub(display_width(&right) + 5);
        let title = printable(&title).into_owned();
        let title = fit(&title, room.min(display_width(&title)), false);
        let used = 4 + display_width(&title) + display_width(&right);
        let line = Line::from(vec![
            Span::styled(mark, rule_style),
            Span::styled(format!(" {title} "), title_style),
            Span::styled(mark.repeat(width.saturating_sub(used)), rule_style),
            Span::styled(right, self.look.dim()),
            Span::styled(mark, rule_style),
        ]);
        frame.render_widget(line, area);
    }

    fn fallen(&self, list: List) -> u64 {
        let fallen = self.state.fallen();
        match list {
            List::Apps => fallen.apps,
            List::Findings => fallen.findings,
            List::Queries | List::Names => fallen.queries,
        }
    }

    fn title_of(&self, list: List) -> String {
        match (self.browse.page(), list) {
            (Page::App(key), List::Names) => {
                let name = self.state.app(*key).map_or("this app", |app| &app.name);
                format!("Names asked by {}", detail::who(name, *key))
            }
            (Page::Resolver(addr), List::Names) => format!("Names asked of {}", resolver(*addr)),
            (Page::Name(name), List::Queries) => format!("Queries for {name}"),
            (_, list) => list_title(list).to_owned(),
        }
    }

    fn subject_title(&self) -> String {
        if let Page::App(key) = self.browse.page() {
            let app = self.state.app(*key);
            return app.map_or_else(|| "App".to_owned(), |app| format!("App: {}", app.name));
        }
        match self.browse.subject(self.state) {
            Some(Row::Finding(row)) => format!("Proof: {}", row.finding.name),
            Some(Row::App(row)) => format!("App: {}", row.name),
            Some(Row::Query(row)) => format!("Query: {} {}", row.qtype, row.name),
            Some(Row::Name(row)) => format!("Name: {}", row.name),
            None => "Detail".to_owned(),
        }
    }

    fn list(&mut self, frame: &mut Frame<'_>, area: Rect, index: usize, list: List) {
        let state = self.state;
        let (rows, all) = self.browse.rows(state, list);
        let height = usize::from(area.height.saturating_sub(1));
        let focused = self.browse.focus(state) == index;
        if focused {
            self.browse.height = height;
        }
        if rows.is_empty() {
            let text = match (list, all) {
                (_, 1..) => format!("the filter hides all {all}; Esc clears it"),
                (List::Findings, _) => "nothing leaked so far".to_owned(),
                (List::Apps, _) => "no program asked for a name so far".to_owned(),
                _ => "none that is still listed".to_owned(),
            };
            let line = Line::styled(format!("  {text}"), self.look.dim());
            frame.render_widget(Paragraph::new(line), area);
            return;
        }
        let width = usize::from(area.width) - MARK.chars().count();
        let columns = columns(list, self.browse.page(), width);
        let widths = widths(&columns, width);
        let titles: Vec<String> = columns
            .iter()
            .zip(&widths)
            .map(|(column, width)| column.head(*width))
            .collect();
        let head = Line::styled(format!("  {}", titles.join(" ")), self.look.dim());
        frame.render_widget(head, Rect { height: 1, ..area });

        let selected = self.browse.selected(index, &rows);
        let offset = self.browse.scrolled(index, selected, height, rows.len());
        let detailed = self
            .browse
            .list(state)
            .is_some_and(|(pane, _)| pane == index);
        for (line, (number, row)) in rows
            .iter()
            .enumerate()
            .skip(offset)
            .take(height)
            .enumerate()
        {
            let is_selected = number == selected && detailed;
            let mark = if is_selected { MARK } else { "  " };
            let mut spans = vec![Span::raw(mark)];
            for (column, width) in columns.iter().zip(&widths) {
                let (text, style) = column.cell(state, row, *width, self.look);
                spans.push(Span::styled(text, style));
                spans.push(Span::raw(" "));
            }
            spans.pop();
            let mut shown = Line::from(spans);
            if is_selected && focused {
                shown = shown.patch_style(self.look.selected());
            }
            let place = Rect {
                y: area.y + 1 + u16::try_from(line).unwrap_or(0),
                height: 1,
                ..area
            };
            frame.render_widget(shown, place);
            self.browse.spots.push((place, Spot::Row(index, row.key())));
        }
    }

    fn detail(&self, width: u16) -> Vec<Line<'static>> {
        let subject = self.browse.subject(self.state);
        detail::lines(
            self.state,
            self.browse.page(),
            subject.as_ref(),
            usize::from(width),
            self.look,
        )
    }

    /// The text about the selected row; gives how many lines are below what is shown.
    fn text(&mut self, frame: &mut Frame<'_>, area: Rect, index: usize) -> usize {
        let lines = self.detail(area.width);
        let height = usize::from(area.height);
        let most = lines.len().saturating_sub(height);
        self.browse.limit_scroll(most);
        if self.browse.focus(self.state) == index {
            self.browse.height = height;
        }
        let scroll = self.browse.scroll();
        let shown: Vec<Line<'_>> = lines.into_iter().skip(scroll).take(height).collect();
        frame.render_widget(Paragraph::new(shown), area);
        most - scroll
    }

    /// What can be pressed, or the filter that is being written.
    fn footer(&mut self, frame: &mut Frame<'_>, area: Rect) {
        if self.browse.is_typing() {
            let hint = "  Enter keeps it, Esc drops it";
            let room = usize::from(area.width).saturating_sub(hint.len() + 2);
            let filter = printable(self.browse.filter()).into_owned();
            let skipped = filter.chars().count().saturating_sub(room);
            let shown: String = filter.chars().skip(skipped).collect();
            let line = Line::from(vec![
                Span::styled("/", self.look.key()),
                Span::raw(shown),
                Span::styled(" ", self.look.selected()),
                Span::styled(hint, self.look.dim()),
            ]);
            frame.render_widget(line, area);
            return;
        }
        let overview = *self.browse.page() == Page::Overview;
        let (back_key, back) = if overview && !self.filters() {
            ("", "")
        } else if overview {
            ("Esc", "unfilter")
        } else {
            ("Esc", "back")
        };
        let stream = if matches!(self.browse.panes().get(1), Some(Pane::List(List::Queries))) {
            "findings"
        } else {
            "every query"
        };
        // The most useful first: what does not fit is left out, and in the help.
        let keys = [
            ("?", "help", Action::Help),
            ("q", "quit", Action::Quit),
            (back_key, back, Action::Back),
            ("/", "filter", Action::Filter),
            ("Tab", "pane", Action::Pane(Direction::Forth)),
            ("Enter", "open", Action::Open),
            ("s", "sort", Action::Sort),
            ("p", "pause", Action::Pause),
            ("a", "app", Action::App),
            ("n", "name", Action::Name),
            ("r", "resolver", Action::Resolver),
            ("e", stream, Action::Stream),
        ];
        let mut spans = Vec::new();
        let mut x = 0;
        for (key, what, action) in keys {
            if key.is_empty() {
                continue;
            }
            let width = u16::try_from(key.len() + 1 + what.len()).unwrap_or(0);
            if x + width > area.width {
                break;
            }
            spans.push(Span::styled(key, self.look.key()));
            spans.push(Span::raw(format!(" {what}  ")));
            let place = Rect::new(area.x + x, area.y, width, 1);
            self.browse.spots.push((place, Spot::Key(action)));
            x += width + 2;
        }
        frame.render_widget(Line::from(spans), area);
    }

    fn help(&mut self, frame: &mut Frame<'_>, area: Rect, caption: &Caption) {
        let width = area.width.min(76);
        let lines = help_text(caption, usize::from(width) - 4, self.look);
        let wanted = u16::try_from(lines.len() + 2).unwrap_or(u16::MAX);
        let place = area.centered(
            Constraint::Length(width),
            Constraint::Length(wanted.min(area.height)),
        );
        let inner = usize::from(place.height.saturating_sub(2));
        let most = lines.len().saturating_sub(inner);
        self.browse.limit_help(most);
        self.browse.height = inner;
        let scroll = self.browse.help().unwrap_or(0);
        let title = if most > scroll {
            " Help (down for more) "
        } else {
            " Help (Esc closes) "
        };
        let shown: Vec<Line<'_>> = lines.into_iter().skip(scroll).take(inner).collect();
        let block = Block::bordered()
            .title(title)
            .padding(ratatui::widgets::Padding::horizontal(1));
        frame.render_widget(Clear, place);
        frame.render_widget(Paragraph::new(shown).block(block), place);
    }
}

fn list_title(list: List) -> &'static str {
    match list {
        List::Apps => "Apps",
        List::Findings => "Findings",
        List::Queries => "Queries",
        List::Names => "Names",
    }
}
