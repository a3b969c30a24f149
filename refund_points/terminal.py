"""The terminal's user interface: a full-screen text display, a keyboard or scanner, and a card reader.

Goods are typed or scanned as CODE or QUANTITY*CODE. Everything that takes time (the card, the disk, the network) runs
in threads, so that the screen never blocks.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from typing import ClassVar

from rich.text import Text
from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.events import Key
from textual.message import Message
from textual.screen import ModalScreen
from textual.widgets import DataTable, Footer, Input, Label, Static

from kazashi.refund_points.goods import CATALOGUE, Basket, BasketRejected, Item, ReceiptLine, line_of
from kazashi.refund_points.printing import receipt_text
from kazashi.refund_points.reading import CardReading, SeveralCards
from kazashi.refund_points.sender import Transport, background_sender
from kazashi.refund_points.till import Receipt, RecordState, SaleRejected, Till
from kazashi.relying_party.login.card_reader import CardMissing
from kazashi.world.storage import StoreFailed

_LOOK_SECONDS = 0.1
"""The time between two attempts to read a card."""

_COMMANDS = {"f3": "later", "f4": "return"}
"""The keys that begin a line with a command."""


class Tap(ModalScreen[CardReading | None]):
    """A dialog that waits for a card. Its result is the card, or None for a sale without a card; Esc returns to the
    basket without a result.

    `last` is the serial number of the card of the previous sale. If that card is still on the reader, it is not taken
    for the next customer's.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("f2", "without", "Without a card"),
        Binding("space", "again", "The same card again"),
        Binding("escape", "back", "Back"),
    ]

    def __init__(
        self, look: Callable[[], CardReading | None], heading: str, last: int | None, *, card_needed: bool = False
    ) -> None:
        super().__init__()
        self._look = look
        self._heading = heading
        self._last = last
        self._card_needed = card_needed
        self._ended = threading.Event()

    def compose(self) -> ComposeResult:
        """Yield the dialog's box."""
        with Vertical(id="box"):
            yield Label(self._heading, markup=False)
            yield Label("カードをかざしてください", classes="large")
            yield Label("Hold the card over the reader", classes="large")
            yield Label("", id="trouble", markup=False)
            yield Label("Esc: back" if self._card_needed else "F2: without a card     Esc: back", classes="keys")

    def on_mount(self) -> None:
        """Poll the reader in a thread."""
        self.run_worker(self._wait, thread=True, exclusive=True)

    def on_unmount(self) -> None:
        """Stop polling the reader."""
        self._ended.set()

    def action_without(self) -> None:
        """Sell without a card."""
        if not self._card_needed:
            self.dismiss(None)

    def action_again(self) -> None:
        """Accept the card of the previous sale."""
        self._last = None

    def action_back(self) -> None:
        """Return to the basket without a result."""
        self._ended.set()
        self.app.pop_screen()

    def _wait(self) -> None:
        while not self._ended.is_set():
            try:
                card = self._look()
            except (SeveralCards, CardMissing) as error:
                card, trouble = None, str(error)
            else:
                trouble = f"{card.refused}; take another card" if card is not None and card.refused else ""
                if card is None or card.serial != self._last:
                    self._last = None
                else:
                    trouble = "this is still the last customer's card: remove it (Space: it is the right card)"
            if card is not None and not trouble:
                self.app.call_from_thread(self._found, card)
                return
            self.app.call_from_thread(self._show_trouble, trouble)
            self._ended.wait(_LOOK_SECONDS)

    def _found(self, card: CardReading) -> None:
        if not self._ended.is_set():
            self.dismiss(card)

    def _show_trouble(self, trouble: str) -> None:
        if not self._ended.is_set():
            self.query_one("#trouble", Label).update(trouble)


def _cells(*texts: str) -> list[Text]:
    """Return cells with these literal texts; a table would interpret markup in plain strings."""
    return [Text(text) for text in texts]


class Typed(Input):
    """The input line.

    It handles Enter in sequence with the other keys, not with a binding. A scanner types faster than messages are
    delivered, and a binding would see the line too early or too late.
    """

    def __init__(self, entered: Callable[[str], None], placeholder: str) -> None:
        super().__init__(placeholder=placeholder, id="typed")
        self._entered = entered

    async def _on_key(self, event: Key) -> None:
        if event.key == "enter":
            value = self.value
            self.clear()
            self._entered(value)
        elif event.key in _COMMANDS:
            self.begin(_COMMANDS[event.key])
        else:
            await super()._on_key(event)
            return
        event.stop()

    def begin(self, command: str) -> None:
        """Begin a line with a command, to which a receipt is to be added."""
        self.value = f"{command} "
        self.cursor_position = len(self.value)


class SendFinished(Message):
    """A round of sending records to the centre has ended, with or without success."""


class Terminal(App[None]):
    """A till's screen. `look` reads the card at the register, `transport` is the connection to the centre, and
    `printer` is called with each receipt's text after the sale is on disk."""

    TITLE = "Kazashi: refund points"
    ENABLE_COMMAND_PALETTE = False
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("f2", "pay", "Pay"),
        Binding("f3", f"begin('{_COMMANDS['f3']}')", "Card shown later"),
        Binding("f4", f"begin('{_COMMANDS['f4']}')", "Return"),
        Binding("f6", "drop", "Drop line"),
        Binding("f10", "quit", "Quit", priority=True),
    ]
    CSS = """
    #top { height: 1; background: $primary; color: $text }
    #top Label { width: 1fr }  #top #line { text-align: right }
    #shelf { width: 2fr }  #basket, #receipt { width: 3fr }
    DataTable, #receipt { height: 1fr; border: round $primary }
    #receipt { padding: 0 2 }
    #sum { height: 1; text-align: right; text-style: bold }
    #says { height: 2; color: $warning }
    Tap { align: center middle }
    #box { width: auto; height: auto; max-width: 90%; border: thick $primary; background: $surface; padding: 1 3 }
    .large { text-style: bold }  .keys { color: $text-muted; margin-top: 1 }  #trouble { color: $error; margin-top: 1 }
    """

    def __init__(
        self, till: Till, look: Callable[[], CardReading | None], transport: Transport,
        shelf: Mapping[str, Item] = CATALOGUE, printer: Callable[[str], None] = lambda _: None,
    ) -> None:  # fmt: skip
        super().__init__()
        self._till = till
        self._look = look
        self._shelf = shelf
        self._printer = printer
        self._lines: list[ReceiptLine] = []
        self._last: int | None = None
        self._receipt = ""
        self._sender = background_sender(till, transport, lambda: self.post_message(SendFinished()))

    def compose(self) -> ComposeResult:
        """Yield the shelf, the basket, the receipt and the input line."""
        with Horizontal(id="top"):
            yield Label(f"還付ポイント Refund points   {self._till.name}", id="till")
            yield Label("", id="line", markup=False)
        with Horizontal():
            yield DataTable(id="shelf", cursor_type="none", show_cursor=False)
            yield DataTable(id="basket", cursor_type="none", show_cursor=False)
            yield Static(id="receipt", markup=False)
        yield Label("", id="sum", markup=False)
        yield Label("", id="says", markup=False)
        yield Typed(self._entered, "code, 3*code, later RECEIPT, return RECEIPT LINE ...")
        yield Footer()

    def on_mount(self) -> None:
        """Fill the shelf, and start to send waiting records."""
        shelf = self.query_one("#shelf", DataTable)
        shelf.add_columns("code", "goods", "yen", "*")
        for item in self._shelf.values():
            shelf.add_row(*_cells(item.code, item.name, f"{item.price:,}", "*" if item.category.eligible else ""))
        shelf.border_title, shelf.border_subtitle = "Shelf", "* earns points"
        self.query_one("#basket", DataTable).border_title = "Basket"
        self.query_one("#basket", DataTable).add_columns("goods", "n", "yen", "*")
        receipt = self.query_one("#receipt", Static)
        receipt.border_title, receipt.border_subtitle = "Receipt", "next customer"
        self.query_one("#typed", Input).focus()
        self._show()
        self._show_line()
        self._sender.start()

    def on_unmount(self) -> None:
        """Stop sending; waiting records stay on disk."""
        self._sender.stop(seconds=0)

    def _entered(self, typed: str) -> None:
        """Handle an input line: goods, or a command and a receipt."""
        words = typed.split()
        if not words:
            return
        try:
            match words:
                case ["later", receipt]:
                    self._show_later(self._named(receipt))
                case ["return", receipt, *places] if places and all(place.isdecimal() for place in places):
                    self._do(lambda: self._till.take_back(self._named(receipt), [int(place) for place in places]))
                case ["later" | "return", *_]:
                    self._say("write: later RECEIPT, or return RECEIPT LINE ...  (a receipt's number or full name)")
                case _:
                    self._lines.append(line_of("".join(words), self._shelf))
                    self._show()
                    self._say("")
        except (BasketRejected, ValueError) as error:
            self._say(str(error))

    def action_pay(self) -> None:
        """Take the payment, with or without a card."""
        try:
            basket = Basket(tuple(self._lines))
        except BasketRejected as error:
            self._say(str(error))
            return

        def sold(card: CardReading | None) -> None:
            if card is not None:
                self._last = card.serial
            self._lines.clear()
            self._do(lambda: self._till.sell(basket, card), back=basket.lines)

        self.push_screen(Tap(self._look, f"¥{basket.total:,}   {basket.points:,} points", self._last), sold)

    def action_begin(self, command: str) -> None:
        """Begin a line with a command. A click on the key in the footer calls this."""
        self.query_one("#typed", Typed).begin(command)

    def action_drop(self) -> None:
        """Remove the last line from the basket."""
        if self._lines:
            self._lines.pop()
        self._show()

    def _show_later(self, receipt: str) -> None:
        def shown(card: CardReading | None) -> None:
            if card is not None:
                self._last = card.serial
                self._do(lambda: self._till.show_later(receipt, card))

        self.push_screen(Tap(self._look, receipt, self._last, card_needed=True), shown)

    def _do(self, act: Callable[[], Receipt], back: Sequence[ReceiptLine] = ()) -> None:
        """Run an operation that results in a receipt, in a thread. The receipt is on disk before it is printed. If the
        operation fails, the lines in `back` return to the basket."""
        self._receipt = ""
        self._show()

        def work() -> None:
            try:
                receipt = act()
            except (SaleRejected, StoreFailed) as error:
                self.call_from_thread(self._failed, str(error), back)
                return
            text, trouble = receipt_text(receipt), ""
            try:
                self._printer(text)
            except OSError as error:
                trouble = f"the receipt is saved, but the printer failed: {error}"
            self.call_from_thread(self._printed, text, trouble)

        self.run_worker(work, thread=True)

    def _failed(self, trouble: str, back: Sequence[ReceiptLine]) -> None:
        self._lines[:0] = back
        self._show()
        self._say(trouble)

    def _printed(self, text: str, trouble: str) -> None:
        self._receipt = text
        self._show()
        self._say(trouble or ("the receipt is printed; the basket below is unchanged" if self._lines else ""))
        self._show_line()
        self._sender.call()

    def _named(self, receipt: str) -> str:
        """Return the full name of a receipt given by its number or its full name."""
        return f"{self._till.name}/{receipt}" if receipt.isdecimal() else receipt

    def _show(self) -> None:
        """Show the basket or, if it is empty, the last receipt."""
        table, receipt = self.query_one("#basket", DataTable), self.query_one("#receipt", Static)
        receipt.display = bool(self._receipt) and not self._lines
        table.display = not receipt.display
        receipt.update(self._receipt)
        table.clear()
        for line in self._lines:
            eligible = "*" if line.item.category.eligible else ""
            table.add_row(*_cells(line.item.name, str(line.quantity), f"{line.yen:,}", eligible))
        total = ""
        if self._lines:
            try:
                basket = Basket(tuple(self._lines))
                total = f"合計 Total ¥{basket.total:,}    還付ポイント Points {basket.points:,}"
            except BasketRejected as error:
                total = str(error)
        self.query_one("#sum", Label).update(total)

    def _say(self, message: str) -> None:
        self.query_one("#says", Label).update(message)

    def on_send_finished(self) -> None:
        """Show the state of the connection to the centre."""
        self._show_line()

    def _show_line(self) -> None:
        try:
            states = self._till.states()
        except StoreFailed as error:
            self._say(str(error))
            return
        refused = states[RecordState.REFUSED] + states[RecordState.DAMAGED]
        waiting = f"{states[RecordState.WAITING]:,} waiting"
        line = f"OFFLINE, {waiting}" if self._sender.trouble else f"online, {waiting}"
        self.query_one("#line", Label).update(line + (f", {refused:,} refused" if refused else ""))
