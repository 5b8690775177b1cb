import { html } from "../lib/dom.js";
import { t } from "../lib/i18n.js";
import { ViewHead } from "../shell/sidebar.js";

export default () => html`<div class="view"><${ViewHead} title=${t("status")} /></div>`;
