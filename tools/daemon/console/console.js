"use strict";

const TEXTS = {
  en: {
    clock: "World clock", day: "+1 day", month: "+30 days", stand: "Stop", run: "Run", stands: "stopped", runs: "running",
    readers: "Readers", cards: "Cards", hint: "Drag a card onto a reader, or select it and press “Insert”.",
    newCard: "New card for", make: "Issue", wire: "APDU trace", pause: "Pause", goOn: "Resume", clear: "Clear",
    bytes: "bytes (masked)", people: "People and their certificates", person: "Person", signature: "Signature",
    authentication: "Authentication", what: "Event", happen: "Record", cancel: "Cancel",
    published: "Revocation lists and OCSP", lists: "lists", nextList: "next issue", nextOcsp: "next OCSP update",
    services: "Services", insert: "Insert", remove: "Remove", reset: "Reinsert", empty: "empty",
    noInstance: "No instance is running. Start one with: kazashi up",
    noPeople: "Nobody is registered yet. Issue a card to somebody.", something: "New event…", none: "none",
    now: "now", ocsp: "OCSP", unseen: "not detected by a reader yet", contactless: "contactless", faults: "with faults",
    done: "Done.", missed: "lines not shown (too fast): ", lost: "The console does not respond.", choose: "select a card",
    "current PIN": "current PIN", "new PIN": "new PIN", "new PIN again": "new PIN again",
    pinWanted: "waits for the", digits: "digits", secondsLeft: "s left", pinOk: "OK", pinBack: "Correct", pinCancel: "Cancel",
    own: "A person of your own", alias: "Name of the card", family: "Family name", given: "Given name", kana: "Reading in katakana",
    birth: "Date of birth", sex: "Sex", municipality: "Municipality (five digits)", street: "Address after the municipality",
    photo: "Photo", register: "Register and issue a card", face: "What the card’s visual application holds. It is a sample, not a document.",
    waits: "It will be sent to Juki-Net at ", due: "at once", damaged: "damaged", jobs: "Jobs done: ", up: "up", down: "down",
  },
  ja: {
    clock: "この世界の時刻", day: "1日進める", month: "30日進める", stand: "止める", run: "動かす", stands: "停止中", runs: "進行中",
    readers: "リーダー", cards: "カード", hint: "カードをリーダーへドラッグするか、カードを選んで「挿入」を押します。",
    newCard: "カードを作る人", make: "発行", wire: "リーダーを流れる命令", pause: "一時停止", goOn: "再開", clear: "消去",
    bytes: "バイト列(伏せ字)", people: "住民と電子証明書", person: "住民", signature: "署名用",
    authentication: "利用者証明用", what: "できごと", happen: "届け出る", cancel: "やめる",
    published: "失効リストとOCSP", lists: "リスト数", nextList: "次の発行", nextOcsp: "OCSPの次の更新",
    services: "サービス", insert: "挿入", remove: "取り出す", reset: "抜き差し", empty: "空",
    noInstance: "インスタンスが動いていません: kazashi up",
    noPeople: "まだ誰も登録されていません。誰かのカードを発行してください。", something: "できごと…", none: "なし",
    now: "現在", ocsp: "OCSPの応答", unseen: "リーダーはまだ認識していません", contactless: "非接触", faults: "故障あり",
    done: "完了しました。", missed: "速すぎて表示できない行: ", lost: "コンソールが応答しません。", choose: "カードを選択",
    "current PIN": "暗証番号", "new PIN": "新しい暗証番号", "new PIN again": "新しい暗証番号(再入力)",
    pinWanted: "の入力待ち:", digits: "桁", secondsLeft: "秒", pinOk: "確定", pinBack: "訂正", pinCancel: "取消",
    own: "自分で決めた人", alias: "カードの名前(英数字)", family: "氏", given: "名", kana: "振り仮名(カタカナ)",
    birth: "生年月日", sex: "性別", municipality: "市区町村コード(5桁)", street: "市区町村より後の住所",
    photo: "写真", register: "登録してカードを発行", face: "券面事項確認APの内容(見本であり、証明書類ではありません)",
    waits: "住基ネットへの送信: ", due: "すぐ", damaged: "破損", jobs: "途中で行われた処理: ", up: "応答あり", down: "応答なし",
  },
};
const STATES = {
  good: "有効", revoked: "失効", held: "一時停止", expired: "期限切れ",
  resident: "住民", moving: "転出中", abroad: "国外", dead: "死亡", deleted: "職権消除",
};
const SHOWN_ROWS = 300;

let language = localStorage.getItem("language") || (navigator.language.startsWith("ja") ? "ja" : "en");
let pressing = false, dragging = false; // the page is not redrawn while the user presses or drags
const picked = {}; // the card selected in each slot's list, by slot
let state = null, chosen = null, vocabulary = [], paused = false, who = null, missed = 0;

const $ = (id) => document.getElementById(id);
const text = (key) => TEXTS[language][key];
const stateName = (code) => language === "ja" ? STATES[code] || code : code;

function el(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value !== null && value !== false) element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

function showMessage(message, bad = false) {
  $("said").textContent = message;
  $("said").className = bad ? "bad" : "";
}

/* Carry out an action, and return whether it was done. */
async function act(action) {
  let done = false;
  try {
    const response = await fetch("/do", {
      method: "POST", headers: {"Content-Type": "application/json"}, body: JSON.stringify(action),
    });
    const reply = await response.json();
    if (!reply.ok) showMessage(`${reply.message} [${reply.error}]`, true);
    else {
      const waits = reply.waits_until ? " " + text("waits") + moment(reply.waits_until) : "";
      const jobs = reply.jobs ? " " + text("jobs") + reply.jobs : "";
      showMessage([text("done") + waits + jobs, ...(reply.refused || []), ...(reply.unusual || [])].join(" "));
      done = true;
    }
  } catch { showMessage(text("lost"), true); }
  await refresh();
  return done;
}

async function refresh() {
  try {
    const response = await fetch("/state");
    if (!response.ok) throw new Error();
    state = await response.json();
    if (!pressing && !dragging) draw();
  } catch { showMessage(text("lost"), true); }
}

/* An instant of the world's clock, in Japan's time. */
function moment(iso) {
  if (iso.startsWith("0001")) return text("due");
  return new Date(iso).toLocaleString("sv-SE", {timeZone: "Asia/Tokyo"}).slice(0, 16);
}

function draw() {
  document.documentElement.lang = language;
  for (const element of document.querySelectorAll("[data-say]")) element.textContent = text(element.dataset.say);
  $("language").textContent = language === "ja" ? "English" : "日本語";
  $("language").lang = language === "ja" ? "en" : "ja";
  $("pause").textContent = text(paused ? "goOn" : "pause");
  $("pause").setAttribute("aria-pressed", String(paused));
  $("missed").textContent = missed ? text("missed") + missed : "";
  if (!state) return;
  $("now").textContent = state.clock.now.slice(0, 19).replace("T", " ");
  $("stands").textContent = text(state.clock.stands ? "stands" : "runs");
  $("clock-toggle").textContent = text(state.clock.stands ? "run" : "stand");
  keepingFocus(() => { drawPins(); drawSlots(); drawCards(); drawPeople(); drawPublished(); });
}

/* Redraw parts of the page without losing the keyboard focus. */
function keepingFocus(drawing) {
  const active = document.activeElement && document.activeElement.dataset.at;
  drawing();
  if (active) {
    const redrawn = document.querySelector(`[data-at="${CSS.escape(active)}"]`);
    if (redrawn) redrawn.focus();
  }
}

function retryCounters(card) {
  const names = ["JPKI authentication PIN", "JPKI signature password", "text PIN"];
  const left = card["tries left"] || {};
  return names.filter((name) => left[name]).map((name) => {
    const [now, full] = left[name].split(" of ");
    return el("span", {class: now === full ? "" : "low", title: name}, ` ${now}/${full}`);
  });
}

function cardFace(name) {
  const card = state.cards.find((candidate) => candidate.card === name);
  if (!card) return [el("b", {}, name)];
  if (card.damage) return [el("b", {}, name), el("small", {}, text("damaged"))];
  return [el("b", {}, name), el("span", {lang: "ja"}, card.name || ""), el("small", {}, " PIN", ...retryCounters(card))];
}

function drawSlots() {
  if (!state.instance) { $("slots").replaceChildren(el("p", {class: "hint"}, text("noInstance"))); return; }
  $("slots").replaceChildren(...state.instance.slots.map((slot) => {
    const labels = [slot.contactless && text("contactless"), slot.faults && text("faults"), slot.card && !slot.seen && text("unseen")];
    const picker = el("select", {"aria-label": `${slot.reader}: ${text("choose")}`, "data-at": `pick-${slot.slot}`,
      onchange: (event) => { picked[slot.slot] = event.target.value; }}, ...state.cards.map((card) => el("option", {}, card.card)));
    picker.value = picked[slot.slot] || chosen || slot.card || picker.value;
    const put = (card) => act({do: "insert", slot: slot.slot, card});
    const article = el("article", {class: "slot", "data-slot": slot.slot,
      ondragover: (event) => { event.preventDefault(); article.classList.add("over"); },
      ondragleave: () => article.classList.remove("over"),
      ondrop: (event) => { event.preventDefault(); dragging = false; put(event.dataTransfer.getData("text/plain")); }},
      el("header", {}, el("span", {class: "reader"}, slot.reader), el("small", {}, labels.filter(Boolean).join(", "))),
      el("div", {class: "lies"}, slot.card
        ? el("span", {class: "card", draggable: "true", ondragstart: drag(slot.card)}, ...cardFace(slot.card))
        : el("span", {class: "empty"}, text("empty"))),
      el("div", {class: "actions"}, picker,
        el("button", {"data-at": `insert-${slot.slot}`, disabled: !state.cards.length, onclick: () => put(picker.value)}, text("insert")),
        el("button", {"data-at": `remove-${slot.slot}`, disabled: !slot.card, onclick: () => act({do: "remove", slot: slot.slot})}, text("remove")),
        el("button", {"data-at": `reset-${slot.slot}`, disabled: !slot.card, onclick: () => act({do: "reset", slot: slot.slot})}, text("reset"))));
    return article;
  }));
}

function drag(card) {
  return (event) => { dragging = true; event.dataTransfer.setData("text/plain", card); };
}
document.addEventListener("dragend", () => { dragging = false; });
document.addEventListener("pointerdown", () => { pressing = true; });
for (const type of ["pointerup", "pointercancel"]) document.addEventListener(type, () => { pressing = false; });

/* The PIN pads that wait for a PIN. The digits are not shown, only how many there are. */
function drawPins() {
  $("pins").replaceChildren(...(state.instance ? state.instance.pins : []).map((pin) => {
    const slot = state.instance.slots[pin.slot];
    const press = (key) => act({do: "pin", slot: pin.slot, key});
    const key = (label, name) => el("button", {"data-at": `pin-${pin.slot}-${name}`, "data-key": name, onclick: () => press(name)}, label);
    const range = pin.shortest === pin.longest ? pin.longest : `${pin.shortest}–${pin.longest}`;
    return el("article", {class: "pin-pad", "data-pin": pin.slot,
      onkeydown: (event) => {
        const pressed = /^[0-9]$/.test(event.key) ? event.key : {Backspace: "correct", Escape: "cancel"}[event.key];
        if (pressed) { event.preventDefault(); press(pressed); }
      }},
      el("h2", {}, `${slot.reader} ${text("pinWanted")} ${text(pin.purpose)}`),
      el("output", {class: "typed"}, "●".repeat(pin.typed) || "–"),
      el("small", {}, `${range} ${text("digits")}, ${Math.ceil(pin.seconds)} ${text("secondsLeft")}`),
      el("div", {class: "keys"}, ..."1234567890".split("").map((digit) => key(digit, digit)),
        key(text("pinBack"), "correct"), key(text("pinOk"), "confirm"), key(text("pinCancel"), "cancel")));
  }));
}

function drawCards() {
  const inside = new Set((state.instance ? state.instance.slots : []).map((slot) => slot.card));
  const choose = (card) => {
    chosen = card.card;
    showFace(card);
    for (const slot of Object.keys(picked)) delete picked[slot];
    draw();
  };
  $("cards").replaceChildren(...state.cards.map((card) => el("div", {
    class: `card${inside.has(card.card) ? " out" : ""}${card.damage ? " damaged" : ""}`, role: "option", tabindex: 0, draggable: "true",
    "aria-selected": String(chosen === card.card), "data-at": `card-${card.card}`, "data-card": card.card,
    ondragstart: drag(card.card), onclick: () => choose(card),
    onkeydown: (event) => { if (event.key === "Enter" || event.key === " ") { event.preventDefault(); choose(card); } },
  }, ...cardFace(card.card))));
}

/* The picture is requested again each time, because an event may have changed the card. */
function showFace(card) {
  const image = $("face").querySelector("img");
  $("face").hidden = true;
  image.alt = `${card.card}: ${card.name || ""}`;
  image.onload = () => { $("face").hidden = false; };
  image.src = `/face/${encodeURIComponent(card.card)}?${Date.now()}`;
}

function certificateStatus(person, kind) {
  const certificates = person.certificates.filter((certificate) => certificate.kind === kind);
  if (!certificates.length) return el("span", {class: "expired"}, text("none"));
  const last = certificates[certificates.length - 1];
  const since = last.since ? ` ${moment(last.since)}` : "";
  const reason = last.reason ? ` (${last.reason})` : "";
  return el("span", {}, el("b", {class: last.state}, stateName(last.state)), reason + since, el("br"),
    el("small", {class: last.ocsp}, `${text("ocsp")}: ${stateName(last.ocsp)}`));
}

function drawPeople() {
  if (!state.people.length) {
    $("people").replaceChildren(el("tr", {}, el("td", {colspan: 4}, text("noPeople"))));
    return;
  }
  $("people").replaceChildren(...state.people.map((person) => el("tr", {"data-who": person.who},
    el("td", {}, el("b", {lang: "ja"}, person.name), ` ${person.who}`, el("br"),
      el("small", {lang: "ja"}, person.address), el("small", {}, ` ${stateName(person.status)}`)),
    el("td", {}, certificateStatus(person, "signature")), el("td", {}, certificateStatus(person, "authentication")),
    el("td", {}, el("button", {"data-at": `event-${person.who}`, onclick: () => open(person)}, text("something"))))));
}

function drawPublished() {
  const kinds = {signature: text("signature"), authentication: text("authentication")};
  $("published").replaceChildren(...state.published.map((row) => el("tr", {},
    el("th", {}, kinds[row.kind]), el("td", {}, String(row.lists)), el("td", {}, row.next ? moment(row.next) : "–"),
    el("td", {}, moment(row.ocsp)))));
  $("services").replaceChildren(...state.services.map((service) => el("li", {},
    el("b", {class: service.ok ? "good" : "bad"}, text(service.ok ? "up" : "down")), ` ${service.service} `, el("code", {}, service.where))));
}

function open(person) {
  who = person.who;
  $("event").hidden = false;
  $("event-who").textContent = `${person.name} (${person.who})`;
  const select = $("event").elements.event;
  select.replaceChildren(...vocabulary.map((kind) =>
    el("option", {value: kind.word}, language === "ja" && kind.japanese ? kind.japanese : kind.word)));
  describe();
  select.focus();
}

function describe() {
  const kind = vocabulary.find((candidate) => candidate.word === $("event").elements.event.value);
  $("event-about").textContent = kind.about;
  $("event-fields").replaceChildren(...kind.fields.map((field) => el("label", {}, field.words + " ",
    field.choice
      ? el("select", {name: field.name}, ...["", "yes", "no"].map((value) => el("option", {}, value)))
      : el("input", {name: field.name, type: field.date ? "date" : "text", required: field.needed}))));
}

function base64(file) {
  return new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.onload = () => resolve(reader.result.slice(reader.result.indexOf(",") + 1));
    reader.onerror = () => reject(reader.error);
    reader.readAsDataURL(file);
  });
}

function row(line) {
  const at = new Date(line.at * 1000);
  const clock = `${at.toTimeString().slice(0, 8)}.${String(at.getMilliseconds()).padStart(3, "0")}`;
  const refused = !line.event && !/(^|[*A-F0-9])9000$/.test(line.response);
  return el("li", {class: line.event ? "event" : refused ? "refused" : ""}, el("time", {}, clock), ` ${line.reader}  ${line.words}`,
    line.command ? el("span", {class: "raw"}, `  > ${line.command}\n  < ${line.response}`
      + (line.rule ? `\n  = ${line.rule} (${line.source})` : "")) : null);
}

function follow() {
  const source = new EventSource("/trace");
  source.onmessage = (message) => {
    const batch = JSON.parse(message.data);
    if (paused) return;
    missed += batch.missed + batch.lines.reduce((sum, line) => sum + line.missed, 0);
    if (batch.missed) draw();
    if (!batch.lines.length) return;
    const trace = $("trace");
    const atEnd = trace.scrollTop + trace.clientHeight >= trace.scrollHeight - 30;
    trace.append(...batch.lines.slice(-SHOWN_ROWS).map(row));
    while (trace.childElementCount > SHOWN_ROWS) trace.firstElementChild.remove();
    if (atEnd) trace.scrollTop = trace.scrollHeight;
    if (batch.lines.some((line) => line.event || /^(VERIFY|CHANGE)/.test(line.words))) refreshSoon();
  };
}

let waiting = null;
function refreshSoon() {
  if (!waiting) waiting = setTimeout(() => { waiting = null; refresh(); }, 300);
}

$("language").addEventListener("click", () => {
  language = language === "ja" ? "en" : "ja";
  localStorage.setItem("language", language);
  draw();
});
for (const button of document.querySelectorAll("[data-clock]")) {
  button.addEventListener("click", () => act({do: "clock",
    clock: button.dataset.clock === "toggle" ? (state.clock.stands ? "run" : "stand") : button.dataset.clock}));
}
$("pause").addEventListener("click", () => { paused = !paused; draw(); });
$("clear").addEventListener("click", () => { missed = 0; $("trace").replaceChildren(); draw(); });
$("bytes").addEventListener("change", (event) => $("trace").classList.toggle("bytes", event.target.checked));
$("new-card").addEventListener("submit", (event) => {
  event.preventDefault();
  act({do: "new-card", resident: event.target.elements.resident.value});
});
$("new-person").addEventListener("submit", async (event) => {
  event.preventDefault();
  const form = event.target, {pin, photo, ...person} = Object.fromEntries(new FormData(form));
  const action = {do: "new-person", person, pin, photo: photo.size ? await base64(photo) : ""};
  if (await act(action)) form.reset();
});
$("event").elements.event.addEventListener("change", describe);
$("event-cancel").addEventListener("click", () => { $("event").hidden = true; });
$("event").addEventListener("submit", (event) => {
  event.preventDefault();
  const fields = {};
  for (const field of $("event-fields").querySelectorAll("[name]")) fields[field.name] = field.value;
  act({do: "event", who, event: event.target.elements.event.value, fields}).then(() => { $("event").hidden = true; });
});

(async () => {
  draw();
  vocabulary = await (await fetch("/events")).json();
  await refresh();
  follow();
  setInterval(refresh, 2000);
})();
