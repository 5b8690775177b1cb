// What is known of one turn, and what each event of its stream changes. No request is made here.

/** States in which the server still works on a turn, or will. */
const OPEN = new Set(["sending", "queued", "running", "waiting"]);

export const isOpen = (turn) => OPEN.has(turn.status);

const EMPTY = {
  id: null,
  seq: null,
  at: null,
  finishedAt: null,
  own: true,
  sender: "",
  platform: "web",
  text: "",
  files: [],
  /** sending, queued, running, waiting, done, merged; unsent: refused before it was a turn. */
  status: "sending",
  reply: "",
  thinking: "",
  progress: "",
  /** Quiet lines of a running turn. */
  lines: [],
  notice: "",
  outcome: "",
  failure: "",
  engine: "",
  engineReason: "",
  retryAt: null,
  orderId: "",
  offer: null,
  mergedInto: null,
  /** Ids of approvals that wait, or were settled before the reader's eyes. */
  approvals: [],
  /** What the stream told of them, by id. */
  cards: {},
  tools: [],
  tokens: 0,
  problem: null,
};

/** A message that was written here and that nobody has yet. */
export const written = ({ key, text, files, engine, at }) => ({ ...EMPTY, key, text, files, asked: engine, at });

/** A turn as the API tells it (TurnInfo). */
export const stored = (info) => ({
  ...EMPTY,
  key: info.id,
  id: info.id,
  seq: info.seq,
  at: info.at,
  finishedAt: info.finished_at,
  own: info.sender?.own ?? true,
  sender: info.sender?.name ?? "",
  platform: info.platform,
  text: info.text,
  files: info.attachments,
  status: info.status,
  reply: info.reply,
  notice: info.notice,
  outcome: info.outcome ?? "",
  failure: info.failure ?? "",
  engine: info.engine,
  engineReason: info.engine_reason,
  orderId: info.order_id,
  offer: info.offer,
  mergedInto: info.merged_into,
  approvals: info.approvals,
  tools: info.tools,
  tokens: info.tokens,
});

/** The same turn with what the API tells now; what only the stream told is kept. */
export function updated(turn, info) {
  const now = stored(info);
  const approvals = [...new Set([...turn.approvals, ...now.approvals])];
  const files = now.files.length ? now.files : turn.files;
  const tools = merged(now.tools, turn.tools);
  if (!isOpen(now)) return { ...now, key: turn.key, files, tools, approvals, cards: turn.cards };
  // A stream that is read tells text and tools sooner than this answer did.
  const known = { reply: turn.reply, thinking: turn.thinking, progress: turn.progress, lines: turn.lines };
  const engine = turn.engine ? { engine: turn.engine, engineReason: turn.engineReason } : {};
  return { ...now, ...known, ...engine, key: turn.key, files, tools, approvals, cards: turn.cards };
}

/** What is stored of each call, with the output that the stream brought; then calls not stored yet. */
function merged(storedTools, streamed) {
  const known = new Map(streamed.map((tool) => [tool.call_id, tool]));
  const both = storedTools.map((tool) => ({ ...known.get(tool.call_id), ...tool }));
  const there = new Set(storedTools.map((tool) => tool.call_id));
  return [...both, ...streamed.filter((tool) => !there.has(tool.call_id))];
}

const withTool = (turn, tool) => {
  const there = turn.tools.some((one) => one.call_id === tool.call_id);
  const tools = there
    ? turn.tools.map((one) => (one.call_id === tool.call_id ? { ...one, ...tool } : one))
    : [...turn.tools, tool];
  return { ...turn, tools };
};

const withLine = (turn, line) =>
  line && !turn.lines.includes(line) ? { ...turn, lines: [...turn.lines, line] } : turn;

const CHANGES = {
  turn: (turn, data) => ({
    ...turn,
    id: data.turn_id,
    status: "running",
    engine: data.engine || turn.engine,
    engineReason: data.engine_reason ?? turn.engineReason,
  }),
  text_delta: (turn, { text }) => ({ ...turn, status: "running", progress: "", reply: turn.reply + text }),
  text_reset: (turn, { text, reason }) => withLine({ ...turn, status: "running", reply: text, thinking: "", progress: "" }, reason),
  thinking_delta: (turn, { text }) => ({ ...turn, thinking: turn.thinking + text }),
  notice: (turn, { text }) => withLine(turn, text),
  progress: (turn, { text }) => ({ ...turn, progress: text }),
  tool_started: (turn, data) => started({ ...turn, status: "running", progress: "" }, data),
  tool_finished: (turn, data) => finished({ ...turn, progress: "" }, data),
  engine: (turn, { engine, reason }) => withLine({ ...turn, engine, engineReason: reason }, reason),
  approval: (turn, data) => ({
    ...turn,
    status: "waiting",
    progress: "",
    approvals: turn.approvals.includes(data.id) ? turn.approvals : [...turn.approvals, data.id],
    cards: { ...turn.cards, [data.id]: { status: "pending", ...data } },
  }),
  approval_settled: (turn, data) => settled(turn, { ...turn.cards, [data.id]: { ...turn.cards[data.id], ...data } }),
  completed: (turn, data) => completed(turn, data),
};

/** A stream that is read from its beginning tells again what is stored: that counts. */
const isOver = (tool) => Boolean(tool) && tool.state !== "running" && tool.state !== "unknown";

function started(turn, { call_id, tool, summary }) {
  if (isOver(turn.tools.find((one) => one.call_id === call_id))) return turn;
  return withTool(turn, { call_id, tool, summary, state: "running", startedAt: Date.now() });
}

function finished(turn, { call_id, tool, ok, output }) {
  const known = turn.tools.find((one) => one.call_id === call_id);
  if (isOver(known)) return withTool(turn, { call_id, output });
  const seconds = known?.startedAt ? (Date.now() - known.startedAt) / 1000 : null;
  return withTool(turn, { call_id, tool, output, seconds, state: ok ? "ok" : "failed" });
}

function settled(turn, cards) {
  const waits = turn.approvals.some((id) => (cards[id]?.status ?? "pending") === "pending");
  return { ...turn, cards, status: waits ? "waiting" : "running" };
}

const completed = (turn, data) => ({
  ...turn,
  status: data.merged_into ? "merged" : "done",
  finishedAt: new Date().toISOString(),
  outcome: data.outcome,
  reply: data.reply,
  notice: data.notice,
  engine: data.engine || turn.engine,
  engineReason: data.engine_reason ?? turn.engineReason,
  failure: data.failure,
  retryAt: data.retry_at,
  offer: data.offer,
  mergedInto: data.merged_into,
  progress: "",
  lines: [],
  tokens: Object.values(data.usage).reduce((sum, count) => sum + count, 0),
  // What still ran when the turn ended did not tell how it went.
  tools: turn.tools.map((tool) => (tool.state === "running" ? { ...tool, state: "unknown" } : tool)),
});

/** The turn after an event of its stream. Kinds that are not known change nothing. */
export const after = (turn, { name, data }) => (Object.hasOwn(CHANGES, name) ? CHANGES[name](turn, data) : turn);

/** A turn that the meter refused at once: the server keeps it, so it is no unsent message. */
export const refused = (turn, problem, now = Date.now()) => ({
  ...turn,
  status: "done",
  outcome: "refused",
  notice: problem.detail,
  failure: problem.code,
  finishedAt: new Date(now).toISOString(),
  retryAt: problem.retryAfter ? new Date(now + problem.retryAfter * 1000).toISOString() : null,
});

/** Stores of turns by the server's order; what has no place in it yet stays behind what it was written after. */
export function ordered(list) {
  let place = -1;
  const placed = list.map((store, n) => {
    const { seq } = store.get();
    place = seq ?? place;
    return { store, place: seq ?? place + 0.5, n };
  });
  return placed.sort((a, b) => a.place - b.place || a.n - b.n).map((one) => one.store);
}
