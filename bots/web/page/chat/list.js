import { html } from "../lib/dom.js";

export const ConversationList = () => html`<div class="conversations"></div>`;
