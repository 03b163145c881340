//! Where the reader is: on which page, in which pane, on which row, and what is filtered and sorted how.

use std::sync::Arc;

use ratatui::layout::{Position, Rect};

use super::{
    keys::{Action, Direction},
    rows::{List, Row, RowKey, Sort, rows},
    state::{AppKey, State},
};

use crate::model::ResolverPlace;

/// Pages that can be gone back to.
const MAX_PAGES: usize = 32;
/// Characters of a filter: as many as a name can have (RFC 1035 section 2.3.4).
const MAX_FILTER: usize = 255;
/// Rows that a turn of the wheel moves.
const WHEEL: usize = 3;

/// What is shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Page {
    /// Everything.
    Overview,
    /// One finding, by its id.
    Finding(String),
    /// What an app asked.
    App(AppKey),
    /// Who asked for a name.
    Name(Arc<str>),
    /// What a resolver was asked.
    Resolver(ResolverPlace),
}

/// A part of a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pane {
    /// A list.
    List(List),
    /// All about the selected row.
    Detail,
}

/// Something on the screen that can be clicked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Spot {
    /// A row of the pane of that number.
    Row(usize, RowKey),
    /// The pane of that number.
    Pane(usize),
    /// A key of the help line.
    Key(Action),
}

/// Where a list stands.
#[derive(Clone, Debug, Default)]
pub struct Cursor {
    /// The selected row; `None` for the first one, whichever that is.
    pub selected: Option<RowKey>,
    /// The first row on the screen.
    pub offset: usize,
}

#[derive(Clone, Debug)]
struct Frame {
    page: Page,
    /// The pane that the keys go to; `None` until the reader chose one.
    focus: Option<usize>,
    /// The list whose selected row is detailed.
    list: Option<usize>,
    cursors: [Cursor; 2],
    scroll: usize,
}

impl Frame {
    fn new(page: Page) -> Self {
        Self {
            page,
            focus: None,
            list: None,
            cursors: Default::default(),
            scroll: 0,
        }
    }
}

/// Where the reader is.
#[derive(Clone, Debug)]
pub struct Browse {
    overview: Frame,
    /// The pages that he opened, one from the other.
    opened: Vec<Frame>,
    /// The stream of the overview.
    stream: List,
    sorts: [usize; 4],
    filter: String,
    typing: bool,
    /// How far the help is scrolled, while it is shown.
    help: Option<usize>,
    /// What the view has put where.
    pub spots: Vec<(Rect, Spot)>,
    /// Rows that fit in the focused pane, as the view had it.
    pub height: usize,
}

impl Browse {
    /// At the beginning; with `all` every query is shown instead of findings.
    pub fn new(all: bool) -> Self {
        Self {
            overview: Frame::new(Page::Overview),
            opened: Vec::new(),
            stream: if all { List::Queries } else { List::Findings },
            sorts: [0; 4],
            filter: String::new(),
            typing: false,
            help: None,
            spots: Vec::new(),
            height: 1,
        }
    }

    fn frame(&self) -> &Frame {
        self.opened.last().unwrap_or(&self.overview)
    }

    fn frame_mut(&mut self) -> &mut Frame {
        self.opened.last_mut().unwrap_or(&mut self.overview)
    }

    /// What is shown.
    pub fn page(&self) -> &Page {
        &self.frame().page
    }

    /// The filter, empty for none.
    pub fn filter(&self) -> &str {
        &self.filter
    }

    /// Whether the filter is being written.
    pub fn is_typing(&self) -> bool {
        self.typing
    }

    /// How far the help is scrolled, while it is shown.
    pub fn help(&self) -> Option<usize> {
        self.help
    }

    /// The help can be scrolled so far only.
    pub fn limit_help(&mut self, most: usize) {
        self.help = self.help.map(|scroll| scroll.min(most));
    }

    /// How far the detail is scrolled.
    pub fn scroll(&self) -> usize {
        self.frame().scroll
    }

    /// The detail can be scrolled so far only.
    pub fn limit_scroll(&mut self, most: usize) {
        let frame = self.frame_mut();
        frame.scroll = frame.scroll.min(most);
    }

    /// The parts of the page.
    pub fn panes(&self) -> Vec<Pane> {
        match self.page() {
            Page::Overview => vec![
                Pane::List(List::Apps),
                Pane::List(self.stream),
                Pane::Detail,
            ],
            Page::App(_) | Page::Resolver(_) => vec![Pane::List(List::Names), Pane::Detail],
            Page::Name(_) => vec![Pane::List(List::Queries), Pane::Detail],
            Page::Finding(_) => vec![Pane::Detail],
        }
    }

    /// The pane that the keys go to. Until the reader chose one it is where the leaks are.
    pub fn focus(&self, state: &State) -> usize {
        self.frame().focus.unwrap_or_else(|| {
            let filter = self.filter.to_lowercase();
            let mut findings = state.findings();
            let leaks = findings.any(|row| Row::Finding(row).has(&filter));
            let stream = self.stream == List::Queries || leaks;
            usize::from(*self.page() == Page::Overview && stream)
        })
    }

    /// The list whose selected row is detailed; `None` on a page without lists.
    pub fn list(&self, state: &State) -> Option<(usize, List)> {
        let panes = self.panes();
        let focus = self.focus(state);
        let wanted = [Some(focus), self.frame().list, Some(0)];
        wanted.into_iter().flatten().find_map(|index| {
            let Some(Pane::List(list)) = panes.get(index) else {
                return None;
            };
            Some((index, *list))
        })
    }

    /// The order of a list.
    pub fn sort(&self, list: List) -> Sort {
        let sorts = list.sorts();
        sorts[self.sorts[list as usize] % sorts.len()]
    }

    /// The rows of a list, and how many there are without the filter.
    pub fn rows<'a>(&self, state: &'a State, list: List) -> (Vec<Row<'a>>, usize) {
        rows(state, self.page(), list, self.sort(list), &self.filter)
    }

    /// Which of the rows is selected in the pane of that number; the first when the one that was is gone.
    pub fn selected(&self, pane: usize, rows: &[Row<'_>]) -> usize {
        let cursor = self.frame().cursors.get(pane);
        cursor
            .and_then(|cursor| cursor.selected.as_ref())
            .and_then(|key| rows.iter().position(|row| row.key() == *key))
            .unwrap_or(0)
    }

    /// The first row on the screen when `height` of them fit and `selected` must be among them.
    pub fn scrolled(&mut self, pane: usize, selected: usize, height: usize, all: usize) -> usize {
        let Some(cursor) = self.frame_mut().cursors.get_mut(pane) else {
            return 0;
        };
        let least = (selected + 1).saturating_sub(height);
        let most = selected.min(all.saturating_sub(height));
        cursor.offset = cursor.offset.clamp(least.min(most), most.max(least));
        cursor.offset
    }

    /// The row that the detail is about.
    pub fn subject<'a>(&self, state: &'a State) -> Option<Row<'a>> {
        if let Page::Finding(id) = self.page() {
            return state
                .findings()
                .find(|row| row.finding.id == *id)
                .map(Row::Finding);
        }
        let (pane, list) = self.list(state)?;
        let (mut rows, _) = self.rows(state, list);
        let index = self.selected(pane, &rows);
        (index < rows.len()).then(|| rows.swap_remove(index))
    }

    /// Does what the reader wants, as far as it is about what he sees.
    pub fn act(&mut self, action: Action, state: &State) {
        match action {
            Action::Back => self.back(),
            Action::Help => self.help = self.help.is_none().then_some(0),
            Action::Type(c) if self.filter.chars().count() < MAX_FILTER => self.filter.push(c),
            Action::Erase => {
                self.filter.pop();
            }
            Action::EraseAll => self.filter.clear(),
            Action::Accept => self.typing = false,
            Action::Filter => {
                self.help = None;
                self.typing = true;
            }
            Action::Move(direction, by) => self.moved(direction, by, state),
            Action::Page(direction) => self.moved(direction, self.height.max(1), state),
            Action::Edge(direction) => self.moved(direction, usize::MAX, state),
            Action::Click(column, row) => self.clicked(Position::new(column, row), state),
            Action::Wheel(direction, column, row) => {
                if let Some(Spot::Row(pane, _) | Spot::Pane(pane)) = self.spot(column, row) {
                    self.set_focus(pane, state);
                    self.moved(direction, WHEEL, state);
                } else if self.help.is_some() {
                    self.moved(direction, WHEEL, state);
                }
            }
            // While the help is shown the keys go to it.
            _ if self.help.is_some() => {}
            Action::Open => self.open(state),
            Action::App => self.go(state, |row| Some(Page::App(row.app()))),
            Action::Name => self.go(state, |row| row.name().map(|name| Page::Name(name.into()))),
            Action::Resolver => self.go(state, |row| row.resolver().map(Page::Resolver)),
            Action::Pane(direction) => {
                let panes = self.panes().len();
                let step = match direction {
                    Direction::Forth => 1,
                    Direction::Back => panes - 1,
                };
                self.set_focus((self.focus(state) + step) % panes, state);
            }
            Action::Sort => {
                if let Some((pane, list)) = self.list(state) {
                    self.sorts[list as usize] += 1;
                    self.reset(pane);
                }
            }
            Action::Stream => {
                self.opened.clear();
                self.stream = match self.stream {
                    List::Findings => List::Queries,
                    _ => List::Findings,
                };
                self.reset(1);
                self.set_focus(1, state);
            }
            Action::Type(_) | Action::Quit | Action::Pause | Action::Mouse | Action::Redraw => {}
        }
    }

    /// From the innermost to the outermost: the help, the writing of a filter, a page, the filter.
    fn back(&mut self) {
        if self.help.take().is_some() {
            return;
        }
        if self.typing {
            self.typing = false;
            self.filter.clear();
        } else if self.opened.pop().is_none() {
            self.filter.clear();
        }
    }

    fn open(&mut self, state: &State) {
        self.go(state, |row| match row {
            Row::App(app) => Some(Page::App(app.key)),
            Row::Finding(row) => Some(Page::Finding(row.finding.id.clone())),
            Row::Query(row) => Some(Page::Name(Arc::clone(&row.name))),
            Row::Name(row) => Some(Page::Name(Arc::clone(row.name))),
        });
    }

    fn go(&mut self, state: &State, to: impl Fn(&Row<'_>) -> Option<Page>) {
        let Some(page) = self.subject(state).as_ref().and_then(to) else {
            return;
        };
        if page == *self.page() {
            return;
        }
        if self.opened.len() == MAX_PAGES {
            self.opened.remove(0);
        }
        self.opened.push(Frame::new(page));
    }

    fn set_focus(&mut self, pane: usize, state: &State) {
        let list = self.list(state).map(|(list, _)| list);
        let frame = self.frame_mut();
        frame.list = list;
        frame.focus = Some(pane);
    }

    fn reset(&mut self, pane: usize) {
        let frame = self.frame_mut();
        if let Some(cursor) = frame.cursors.get_mut(pane) {
            *cursor = Cursor::default();
        }
        frame.scroll = 0;
    }

    fn select(&mut self, pane: usize, key: Option<RowKey>) {
        let frame = self.frame_mut();
        if let Some(cursor) = frame.cursors.get_mut(pane) {
            cursor.selected = key;
        }
        frame.scroll = 0;
    }

    fn moved(&mut self, direction: Direction, by: usize, state: &State) {
        let step = |from: usize| match direction {
            Direction::Back => from.saturating_sub(by),
            Direction::Forth => from.saturating_add(by),
        };
        if let Some(scroll) = &mut self.help {
            *scroll = step(*scroll);
            return;
        }
        let focus = self.focus(state);
        let Some(&Pane::List(list)) = self.panes().get(focus) else {
            let frame = self.frame_mut();
            frame.scroll = step(frame.scroll);
            return;
        };
        let (rows, _) = self.rows(state, list);
        let Some(last) = rows.len().checked_sub(1) else {
            return;
        };
        let to = step(self.selected(focus, &rows)).min(last);
        // On top of what is newest one wants to see what comes.
        let follows = to == 0 && (self.sort(list) == Sort::Newest || by == usize::MAX);
        let key = (!follows).then(|| rows[to].key());
        self.set_focus(focus, state);
        self.select(focus, key);
    }

    /// The key of the help line that is there.
    pub fn key_at(&self, column: u16, row: u16) -> Option<Action> {
        match self.spot(column, row) {
            Some(Spot::Key(action)) if self.help.is_none() => Some(action),
            _ => None,
        }
    }

    fn spot(&self, column: u16, row: u16) -> Option<Spot> {
        let at = Position::new(column, row);
        let mut spots = self.spots.iter().rev();
        spots
            .find(|(place, _)| place.contains(at))
            .map(|(_, spot)| spot.clone())
    }

    fn clicked(&mut self, at: Position, state: &State) {
        if self.help.take().is_some() {
            return;
        }
        match self.spot(at.x, at.y) {
            Some(Spot::Row(pane, key)) => {
                let panes = self.panes();
                let Some(&Pane::List(list)) = panes.get(pane) else {
                    return;
                };
                let (rows, _) = self.rows(state, list);
                let before = rows.get(self.selected(pane, &rows)).map(Row::key);
                let again = self.focus(state) == pane && before.as_ref() == Some(&key);
                self.set_focus(pane, state);
                self.select(pane, Some(key));
                if again {
                    self.open(state);
                }
            }
            Some(Spot::Pane(pane)) => self.set_focus(pane, state),
            Some(Spot::Key(_)) | None => {}
        }
    }
}
