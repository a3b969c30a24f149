"""The terminal as the person at the register sees it: a full screen of text, a keyboard or scanner, and a card reader.

Goods are typed or scanned as CODE or QUANTITY*CODE. Whatever takes time (the card, the disk, the network) happens
beside the screen, which never stands still.
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
"""Between two looks at the reader."""

_WORDS = {"f3": "later", "f4": "return"}
"""Keys that begin a line with a word."""


class Tap(ModalScreen[CardReading | None]):
    """Waits for a card. Ends with the card, or with None for a sale without one; Esc goes back to the basket, and then
    nobody is told. `last` is the card of the sale before: one that still lies there is not the next customer's."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("f2", "without", "Without a card"),
        Binding("space", "again", "The same card again"),
        Binding("escape", "back", "Back"),
    ]

    def __init__(
        self, look: Callable[[], CardReading | None], words: str, last: int | None, *, card_needed: bool = False
    ) -> None:
        super().__init__()
        self._look = look
        self._words = words
        self._last = last
        self._card_needed = card_needed
        self._ended = threading.Event()

    def compose(self) -> ComposeResult:
        """A box in the middle."""
        with Vertical(id="box"):
            yield Label(self._words, markup=False)
            yield Label("カードをかざしてください", classes="large")
            yield Label("Hold the card over the reader", classes="large")
            yield Label("", id="trouble", markup=False)
            yield Label("Esc: back" if self._card_needed else "F2: without a card     Esc: back", classes="keys")

    def on_mount(self) -> None:
        """Look at the reader beside the screen."""
        self.run_worker(self._wait, thread=True, exclusive=True)

    def on_unmount(self) -> None:
        """Look no more."""
        self._ended.set()

    def action_without(self) -> None:
        """Sell without a card."""
        if not self._card_needed:
            self.dismiss(None)

    def action_again(self) -> None:
        """The card of the sale before is the right one."""
        self._last = None

    def action_back(self) -> None:
        """Neither."""
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
                    trouble = "the last customer's card still lies there: take it away (Space: it is the right one)"
            if card is not None and not trouble:
                self.app.call_from_thread(self._found, card)
                return
            self.app.call_from_thread(self._tell, trouble)
            self._ended.wait(_LOOK_SECONDS)

    def _found(self, card: CardReading) -> None:
        if not self._ended.is_set():
            self.dismiss(card)

    def _tell(self, words: str) -> None:
        if not self._ended.is_set():
            self.query_one("#trouble", Label).update(words)


def _cells(*words: str) -> list[Text]:
    """Words as they are; a table would look for markup in them."""
    return [Text(word) for word in words]


class Typed(Input):
    """The line that is typed. Enter is taken in turn with the letters before and after it, because a scanner types
    faster than messages go round: a binding would see the line too early or too late."""

    def __init__(self, entered: Callable[[str], None], placeholder: str) -> None:
        super().__init__(placeholder=placeholder, id="typed")
        self._entered = entered

    async def _on_key(self, event: Key) -> None:
        if event.key == "enter":
            value = self.value
            self.clear()
            self._entered(value)
        elif event.key in _WORDS:
            self.begin(_WORDS[event.key])
        else:
            await super()._on_key(event)
            return
        event.stop()

    def begin(self, word: str) -> None:
        """Begin a line that needs a receipt."""
        self.value = f"{word} "
        self.cursor_position = len(self.value)


class SendFinished(Message):
    """Something was sent to the centre, or could not be."""


class Terminal(App[None]):
    """A till's screen. `look` sees what card lies at the register, `transport` leads to the centre, and `printer` gets
    each receipt's text once the sale is on disk."""

    TITLE = "Kazashi: refund points"
    ENABLE_COMMAND_PALETTE = False
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("f2", "pay", "Pay"),
        Binding("f3", f"begin('{_WORDS['f3']}')", "Card shown later"),
        Binding("f4", f"begin('{_WORDS['f4']}')", "Return"),
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
        """Shelf, basket, and the line that is typed in."""
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
        """Fill the shelf, and begin to send what waits."""
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
        """What waits stays on disk."""
        self._sender.stop(seconds=0)

    def _entered(self, typed: str) -> None:
        """Goods, or a word and a receipt."""
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
                    self._say("say: later RECEIPT, or return RECEIPT LINE ...  (a receipt's number, or its whole name)")
                case _:
                    self._lines.append(line_of("".join(words), self._shelf))
                    self._show()
                    self._say("")
        except (BasketRejected, ValueError) as error:
            self._say(str(error))

    def action_pay(self) -> None:
        """The customer pays, and holds the card over the reader, or does not."""
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

    def action_begin(self, word: str) -> None:
        """A line that needs a receipt; a click on the foot of the screen comes here."""
        self.query_one("#typed", Typed).begin(word)

    def action_drop(self) -> None:
        """Take the last line out of the basket."""
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
        """Do what ends in a receipt, beside the screen: the disk has it before it is printed. `back` is what lies in
        the basket again where it failed."""
        self._receipt = ""
        self._show()

        def work() -> None:
            try:
                receipt = act()
            except (SaleRejected, StoreFailed) as error:
                self.call_from_thread(self._failed, str(error), back)
                return
            text, words = receipt_text(receipt), ""
            try:
                self._printer(text)
            except OSError as error:
                words = f"it is done and kept, but the printer failed: {error}"
            self.call_from_thread(self._printed, text, words)

        self.run_worker(work, thread=True)

    def _failed(self, words: str, back: Sequence[ReceiptLine]) -> None:
        self._lines[:0] = back
        self._show()
        self._say(words)

    def _printed(self, text: str, words: str) -> None:
        self._receipt = text
        self._show()
        self._say(words)
        self._show_line()
        self._sender.call()

    def _named(self, receipt: str) -> str:
        """A receipt by its number, or by its whole name."""
        return f"{self._till.name}/{receipt}" if receipt.isdecimal() else receipt

    def _show(self) -> None:
        """The basket; where it is empty, the last receipt in its place."""
        table, receipt = self.query_one("#basket", DataTable), self.query_one("#receipt", Static)
        receipt.display = bool(self._receipt) and not self._lines
        table.display = not receipt.display
        receipt.update(self._receipt)
        table.clear()
        for line in self._lines:
            eligible = "*" if line.item.category.eligible else ""
            table.add_row(*_cells(line.item.name, str(line.quantity), f"{line.yen:,}", eligible))
        words = ""
        if self._lines:
            try:
                basket = Basket(tuple(self._lines))
                words = f"合計 Total ¥{basket.total:,}    還付ポイント Points {basket.points:,}"
            except BasketRejected as error:
                words = str(error)
        self.query_one("#sum", Label).update(words)

    def _say(self, words: str) -> None:
        self.query_one("#says", Label).update(words)

    def on_sent(self) -> None:
        """Say how the line to the centre is."""
        self._show_line()

    def _show_line(self) -> None:
        try:
            states = self._till.states()
        except StoreFailed as error:
            self._say(str(error))
            return
        lying = states[RecordState.REFUSED] + states[RecordState.DAMAGED]
        waits = f"{states[RecordState.WAITING]:,} records wait" if states[RecordState.WAITING] else "nothing waits"
        line = f"OFF LINE, {waits}" if self._sender.trouble else f"on line, {waits}"
        self.query_one("#line", Label).update(line + (f", {lying:,} refused" if lying else ""))
