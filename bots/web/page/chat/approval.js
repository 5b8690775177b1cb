// Approvals that a turn waits for, or waited for before the reader's eyes: their cards in the thread.
import { html, memo, useEffect, useState } from "../lib/dom.js";
import { api, session } from "../lib/api.js";
import { also, t } from "../lib/i18n.js";
import { Loading, useLoaded } from "../lib/parts.js";
import { createStore, useStore } from "../lib/store.js";
import { tell } from "./changes.js";

/** The card is loaded when the first one is needed. */
const card = createStore(null);

function loadCard() {
  return Promise.all([import("../views/approval-card.js"), also("views")]).then(([module]) => card.set(() => module.ApprovalCard));
}

export const Approvals = ({ turn, talk }) => html`<div class="approvals">${turn.approvals.map((id) =>
  html`<${Approval} key=${id} id=${id} told=${turn.cards[id]} asker=${turn.sender} talk=${talk} />`)}</div>`;

/** All that is known of it, for those who may decide; what the stream told, for those who may not. */
const Approval = memo(({ id, told, asker, talk }) => {
  const Card = useStore(card);
  const may = session.get().user.role !== "viewer";
  const [problem, setProblem] = useState(null);
  const load = () => loadCard().then(() => setProblem(null), () => setProblem({ detail: t("This part of the page could not be loaded. Check the connection.") }));
  useEffect(() => { load(); }, []);
  const loaded = useLoaded((signal) => (may ? api.get(`/approvals/${encodeURIComponent(id)}`, { signal }) : Promise.resolve(null)), [id, told?.status]);
  if (problem) return html`<${Loading} of=${{ problem, again: load }} />`;
  const known = may ? loaded.value : told && fromStream(told, asker);
  if (!Card || !known) return html`<${Loading} of=${loaded} />`;
  return html`<${Card} approval=${known} may=${may} onDecided=${() => talk.id && tell(talk.id)} />`;
});

/** What a viewer is told, in the form of the card. */
const fromStream = (told, asker) => ({
  steps: [],
  asked: "",
  asked_by: asker,
  unattended: false,
  four_eyes: false,
  on_timeout: "deny",
  decided_where: "",
  decided_at: null,
  comment: "",
  ...told,
});
