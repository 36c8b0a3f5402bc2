"""The live screen of `antiphon top`. The only module here that imports textual; the command opens it last."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from typing import ClassVar, Final

from rich.text import Text
from textual import work
from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical, VerticalScroll
from textual.screen import ModalScreen
from textual.widgets import DataTable, Footer, Input, Static

from antiphon.cli.top import model
from antiphon.cli.top.source import Source, SourceError
from antiphon.runtime.operators.processes import Process
from antiphon.schemas.messages import CallSummary

EVERY: Final = 1.0
"""Seconds from one refresh to the next; one that takes longer is waited for."""
MAX_ROWS: Final = 500
"""Rows of the table, the first in the order that is set: more could not be drawn each second."""


class Confirm(ModalScreen[bool]):
    """Asks before something is done to callers. Pushed by `TopScreen`, gone with its answer."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("y", "answer(True)", "yes"),
        Binding("n,escape,q", "answer(False)", "no"),
    ]
    CSS = """
    Confirm { align: center middle; }
    Confirm Vertical { width: 76; height: auto; border: heavy $warning; padding: 1 2; background: $surface; }
    """

    def __init__(self, question: str) -> None:
        super().__init__()
        self._question = question

    def compose(self) -> ComposeResult:
        """The question."""
        with Vertical():
            yield Static(Text(self._question))
            yield Static(Text("\ny yes   n no"))

    def action_answer(self, yes: bool) -> None:
        """The person's answer."""
        self.dismiss(yes)


class Detail(ModalScreen[None]):
    """One call. Pushed by `TopScreen`, which shows it each new state of the call."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,enter,q", "back", "back"),
        Binding("h", "hang_up", "hang up"),
    ]
    CSS = """
    Detail VerticalScroll { border: round $primary; padding: 0 1; background: $surface; }
    """

    def __init__(self, call: CallSummary) -> None:
        super().__init__()
        self.call = call

    def compose(self) -> ComposeResult:
        """Its lines."""
        with VerticalScroll():
            yield Static(id="detail")
        yield Footer()

    def on_mount(self) -> None:
        """The first state."""
        self.show(self.call, time.time())

    def show(self, call: CallSummary | None, now: float) -> None:
        """The call as it is now; None: it has ended, and its last state stays."""
        lines = [] if call else ["this call is no longer listed; its last state:", ""]
        self.call = call or self.call
        self.query_one("#detail", Static).update(Text("\n".join(lines + model.detail_lines(self.call, now))))

    def action_back(self) -> None:
        """Back to the table."""
        self.dismiss()

    def action_hang_up(self) -> None:
        """End this call."""
        if isinstance(self.app, TopScreen):
            self.app.ask_hang_up(self.call.session_id)


class TopScreen(App[None]):
    """The table, refreshed each second. Made by the command, which runs it on the loop of `source`."""

    TITLE = "antiphon top"
    ENABLE_COMMAND_PALETTE = False
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("s", "sort", "sort"),
        Binding("slash", "filter", "filter"),
        Binding("p", "processes", "calls/processes"),
        Binding("h", "hang_up", "hang up"),
        Binding("d", "drain", "drain"),
        Binding("escape", "clear", "clear filter", show=False),
        Binding("q", "quit", "quit"),
    ]
    CSS = """
    #status { height: 1; background: $primary; }
    #trouble { height: auto; color: $error; }
    #said { height: auto; color: $success; }
    #filter { display: none; }
    DataTable { height: 1fr; }
    """

    def __init__(
        self, source: Source, first: model.Snapshot, sort: str = model.SORTS[0], wanted: str = "", *, processes: bool
    ) -> None:
        super().__init__()
        self._source, self._found = source, first
        self._sort, self._wanted, self._shows_processes = sort, wanted, processes
        self._trouble = ""
        self._rows: list[CallSummary] | list[Process] = []

    def compose(self) -> ComposeResult:
        """A status line, the table, what went wrong, the filter."""
        yield Static(id="status")
        yield DataTable(cursor_type="row", zebra_stripes=True)
        yield Static(id="trouble")
        yield Static(id="said")
        yield Input(self._wanted, placeholder="words that a call must have, then Enter", id="filter")
        yield Footer()

    def on_mount(self) -> None:
        """Show what is known, and begin to ask."""
        self._columns()
        self._show()
        self.query_one(DataTable).focus()
        self.set_interval(EVERY, self._refresh)

    @work(group="refresh")
    async def _ask(self) -> None:
        try:
            self._found = await self._source.snapshot()
            self._trouble = ""
        except SourceError as error:
            self._trouble = f"{error}; the table is {model.age(time.time() - self._found.at)} old, trying again"
        if self.is_running:
            self._show()

    def _refresh(self) -> None:
        if not any(worker.group == "refresh" and worker.is_running for worker in self.workers):
            self._ask()

    # ---- the table -----------------------------------------------------------------------------------

    def _table(self) -> DataTable[Text]:
        return self.screen_stack[0].query_one(DataTable)

    def _columns(self) -> None:
        table = self._table()
        table.clear(columns=True)
        table.add_columns(*(model.PROCESS_COLUMNS if self._shows_processes else model.COLUMNS))

    def _show(self) -> None:
        table, now = self._table(), time.time()
        at, chosen, offset = table.cursor_row, self._key(table.cursor_row), table.scroll_y
        if self._shows_processes:
            self._rows = self._found.processes[:MAX_ROWS]
            cells = [model.process_cells(each) for each in self._rows]
        else:
            self._rows = model.ordered(model.filtered(self._found.calls, self._wanted), self._sort)[:MAX_ROWS]
            cells = [tuple(model.row_of(each, now)) for each in self._rows]
        table.clear()
        for row in cells:
            table.add_row(*(Text(cell) for cell in row))
        keys = [self._key(place) for place in range(len(self._rows))]
        # The cursor stays on its call, because `h` ends the one that it is on.
        place = keys.index(chosen) if chosen in keys else min(at, len(keys) - 1)
        table.move_cursor(row=max(place, 0), scroll=False)
        table.scroll_to(y=offset, animate=False)
        what = "processes" if self._shows_processes else f"by {self._sort}"
        wanted = f'  filter "{model.plain(self._wanted)}"' if self._wanted and not self._shows_processes else ""
        base = self.screen_stack[0]
        base.query_one("#status", Static).update(
            Text(f"{self._source.name}  {model.note(self._found)}  {what}{wanted}", no_wrap=True, overflow="ellipsis")
        )
        base.query_one("#trouble", Static).update(Text(self._trouble))
        for screen in self.screen_stack:
            if isinstance(screen, Detail) and screen.is_mounted:
                found = (each for each in self._found.calls if each.session_id == screen.call.session_id)
                screen.show(next(found, None), now)

    def _key(self, place: int) -> tuple[str, str] | None:
        if not 0 <= place < len(self._rows):
            return None
        row = self._rows[place]
        return ("call", row.session_id) if isinstance(row, CallSummary) else (row.service, row.id)

    def _chosen(self) -> CallSummary | Process | None:
        place = self._table().cursor_row
        return self._rows[place] if 0 <= place < len(self._rows) else None

    def _say(self, text: str) -> None:
        self.screen_stack[0].query_one("#said", Static).update(Text(model.plain(text, 300)))

    # ---- keys ----------------------------------------------------------------------------------------

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Keys of the table do nothing while another screen is above it, except its own."""
        alone = len(self.screen_stack) == 1
        return alone or action not in ("sort", "filter", "processes", "hang_up", "drain", "clear", "quit")

    def action_sort(self) -> None:
        """The next order."""
        self._sort = model.SORTS[(model.SORTS.index(self._sort) + 1) % len(model.SORTS)]
        self._show()

    def action_processes(self) -> None:
        """The other table."""
        self._shows_processes = not self._shows_processes
        self._rows = []
        self._columns()
        self._show()

    def action_filter(self) -> None:
        """Ask for words."""
        line = self.query_one("#filter", Input)
        line.display = True
        line.focus()

    def action_clear(self) -> None:
        """No filter, and its line is gone."""
        self._wanted = self.query_one("#filter", Input).value = ""
        self._close_filter()

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """The words of the filter."""
        self._wanted = event.value
        self._close_filter()

    def _close_filter(self) -> None:
        self.query_one("#filter", Input).display = False
        self._table().focus()
        self._show()

    def on_data_table_row_selected(self) -> None:
        """Enter: the call in detail."""
        chosen = self._chosen()
        if isinstance(chosen, CallSummary):
            self.push_screen(Detail(chosen))

    def action_hang_up(self) -> None:
        """End the call under the cursor, after a question."""
        chosen = self._chosen()
        if isinstance(chosen, CallSummary):
            self.ask_hang_up(chosen.session_id)
        else:
            self._say("h ends a call: there is none under the cursor (p shows the calls)")

    def ask_hang_up(self, session_id: str) -> None:
        """End this call, if the person says so."""
        question = f"Hang up call {model.plain(session_id)}? Its caller and its agent are told that it has ended."
        self._confirmed(question, lambda: self._source.hang_up(session_id))

    def action_drain(self) -> None:
        """Drain the process under the cursor, or the owner of the call there, after a question."""
        chosen = self._chosen()
        if isinstance(chosen, CallSummary):
            owners = [each for each in self._found.processes if each.id == chosen.owner]
            chosen = owners[0] if owners else None
        if chosen is None:
            self._say("d drains a process: none is known here (p shows the processes)")
            return
        service, instance = chosen.service, chosen.id
        name = f"{service} {chosen.name} ({instance}, host {chosen.host}, process {chosen.pid})"
        question = f"Drain {model.plain(name, 160)}? It takes no new calls, hands over those that it has, and ends."
        self._confirmed(question, lambda: self._source.drain(service, instance))

    def _confirmed(self, question: str, act: Callable[[], Awaitable[str]]) -> None:
        def answered(yes: bool | None) -> None:
            if yes:
                self._act(act)

        self.push_screen(Confirm(question), answered)

    @work(group="act")
    async def _act(self, act: Callable[[], Awaitable[str]]) -> None:
        self._say("asked ...")
        try:
            said = await act()
        except SourceError as error:
            said = f"not done: {error}"
        if self.is_running:
            self._say(said)
