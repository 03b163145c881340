//! From keys and the mouse to what the reader wants.

use ratatui::crossterm::event::{
    Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers, MouseButton, MouseEventKind,
};

/// What the reader wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// The end.
    Quit,
    /// Back to where he came from.
    Back,
    /// More about the selected row.
    Open,
    /// The app of the selected row.
    App,
    /// The name of the selected row.
    Name,
    /// The resolver of the selected row.
    Resolver,
    /// The next pane, or the one before.
    Pane(Direction),
    /// So many rows on.
    Move(Direction, usize),
    /// A pane's height on.
    Page(Direction),
    /// The first or the last row.
    Edge(Direction),
    /// Another order of rows.
    Sort,
    /// Findings, or every query.
    Stream,
    /// Stop the picture, or let it go on.
    Pause,
    /// Begin to write a filter.
    Filter,
    /// A character of the filter.
    Type(char),
    /// Take the filter's last character back.
    Erase,
    /// Take all of the filter back.
    EraseAll,
    /// The filter is written.
    Accept,
    /// Show or hide the keys.
    Help,
    /// Take the mouse, or leave it to the terminal, which then selects text with it.
    Mouse,
    /// The mouse button was pressed here (column, row).
    Click(u16, u16),
    /// The wheel was turned here.
    Wheel(Direction, u16, u16),
    /// The terminal has another size.
    Redraw,
}

/// Which way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// Towards the first row.
    Back,
    /// Towards the last row.
    Forth,
}

use Direction::{Back, Forth};

/// What an event of the terminal means; `typing` while a filter is being written.
pub fn action(event: &Event, typing: bool) -> Option<Action> {
    match event {
        Event::Key(key) if key.kind != KeyEventKind::Release => {
            if key.modifiers.contains(KeyModifiers::CONTROL) {
                return control(key.code, typing);
            }
            if typing {
                return typed(*key);
            }
            pressed(key.code)
        }
        Event::Mouse(mouse) => match mouse.kind {
            MouseEventKind::Down(MouseButton::Left) => Some(Action::Click(mouse.column, mouse.row)),
            MouseEventKind::Down(MouseButton::Right) => Some(Action::Back),
            MouseEventKind::ScrollUp => Some(Action::Wheel(Back, mouse.column, mouse.row)),
            MouseEventKind::ScrollDown => Some(Action::Wheel(Forth, mouse.column, mouse.row)),
            _ => None,
        },
        Event::Resize(..) => Some(Action::Redraw),
        _ => None,
    }
}

fn control(code: KeyCode, typing: bool) -> Option<Action> {
    match code {
        KeyCode::Char('c') => Some(Action::Quit),
        KeyCode::Char('l') => Some(Action::Redraw),
        KeyCode::Char('u') if typing => Some(Action::EraseAll),
        KeyCode::Char('h') if typing => Some(Action::Erase),
        _ => None,
    }
}

fn typed(key: KeyEvent) -> Option<Action> {
    match key.code {
        KeyCode::Char(c) if !key.modifiers.contains(KeyModifiers::ALT) => Some(Action::Type(c)),
        KeyCode::Backspace => Some(Action::Erase),
        KeyCode::Enter | KeyCode::Tab | KeyCode::Down | KeyCode::Up => Some(Action::Accept),
        KeyCode::Esc => Some(Action::Back),
        _ => None,
    }
}

fn pressed(code: KeyCode) -> Option<Action> {
    Some(match code {
        KeyCode::Char('q') => Action::Quit,
        KeyCode::Esc | KeyCode::Backspace | KeyCode::Left | KeyCode::Char('h') => Action::Back,
        KeyCode::Enter | KeyCode::Right | KeyCode::Char('l') => Action::Open,
        KeyCode::Char('a') => Action::App,
        KeyCode::Char('n') => Action::Name,
        KeyCode::Char('r') => Action::Resolver,
        KeyCode::Tab => Action::Pane(Forth),
        KeyCode::BackTab => Action::Pane(Back),
        KeyCode::Up | KeyCode::Char('k') => Action::Move(Back, 1),
        KeyCode::Down | KeyCode::Char('j') => Action::Move(Forth, 1),
        KeyCode::PageUp => Action::Page(Back),
        KeyCode::PageDown => Action::Page(Forth),
        KeyCode::Home | KeyCode::Char('g') => Action::Edge(Back),
        KeyCode::End | KeyCode::Char('G') => Action::Edge(Forth),
        KeyCode::Char('s') => Action::Sort,
        KeyCode::Char('e') => Action::Stream,
        KeyCode::Char('p' | ' ') => Action::Pause,
        KeyCode::Char('/') => Action::Filter,
        KeyCode::Char('?') | KeyCode::F(1) => Action::Help,
        KeyCode::Char('m') => Action::Mouse,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use ratatui::crossterm::event::MouseEvent;

    fn key(code: KeyCode) -> Event {
        Event::Key(KeyEvent::new(code, KeyModifiers::NONE))
    }

    #[test]
    fn a_letter_is_a_command_or_a_part_of_the_filter() {
        let q = key(KeyCode::Char('q'));
        assert_eq!(action(&q, false), Some(Action::Quit));
        assert_eq!(action(&q, true), Some(Action::Type('q')));
        let slash = key(KeyCode::Char('/'));
        assert_eq!(action(&slash, false), Some(Action::Filter));
        assert_eq!(action(&slash, true), Some(Action::Type('/')));
    }

    #[test]
    fn control_c_ends_it_always() {
        let event = Event::Key(KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL));
        for typing in [false, true] {
            assert_eq!(action(&event, typing), Some(Action::Quit));
        }
    }

    #[test]
    fn escape_goes_back_and_releases_are_nothing() {
        assert_eq!(action(&key(KeyCode::Esc), true), Some(Action::Back));
        assert_eq!(action(&key(KeyCode::Esc), false), Some(Action::Back));
        let mut release = KeyEvent::new(KeyCode::Char('q'), KeyModifiers::NONE);
        release.kind = KeyEventKind::Release;
        assert_eq!(action(&Event::Key(release), false), None);
    }

    #[test]
    fn the_mouse_says_where() {
        let mouse = |kind| {
            Event::Mouse(MouseEvent {
                kind,
                column: 7,
                row: 3,
                modifiers: KeyModifiers::NONE,
            })
        };
        let down = mouse(MouseEventKind::Down(MouseButton::Left));
        assert_eq!(action(&down, false), Some(Action::Click(7, 3)));
        let wheel = mouse(MouseEventKind::ScrollDown);
        assert_eq!(action(&wheel, false), Some(Action::Wheel(Forth, 7, 3)));
        assert_eq!(action(&mouse(MouseEventKind::Moved), false), None);
    }
}
