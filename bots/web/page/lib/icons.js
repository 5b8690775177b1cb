// Line icons, 24 by 24, drawn for this page. They are decoration: labels stand beside or on buttons.
import { html } from "./dom.js";

const DRAWN = {
  again: "M19.500 12a7.500 7.500 0 1 1-2.300-5.400M19.500 3v4.200h-4.200",
  alert: "M12 4 2.8 19.500h18.400ZM12 10v4.500M12 17.200v.1",
  attach: "m20 11-8.300 8.300a5 5 0 0 1-7-7l8.600-8.600a3.400 3.400 0 0 1 4.800 4.800l-8.500 8.500a1.700 1.700 0 0 1-2.400-2.400l7.700-7.700",
  audit: "M6 3h9l4 4v14H6ZM14 3v5h5M9 12h7M9 16h7",
  camera: "M4 8h3.500L9.500 5h5l2 3H20v11H4ZM12 16.500a3.200 3.200 0 1 0 0-6.400 3.200 3.200 0 0 0 0 6.400Z",
  chat: "M4 5h16v11.500h-9L6.500 20v-3.500H4Z",
  check: "m5 12.500 4.500 4.500L19 7.500",
  close: "m6 6 12 12M18 6 6 18",
  copy: "M9 9h10.500v10.500H9ZM5.500 15H4.500V4.500H15v1",
  down: "m6 9.500 6 6 6-6",
  edit: "M4 20h4L19 9l-4-4L4 16ZM13 7l4 4",
  engine: "M7 7h10v10H7ZM10 3.500V7M14 3.500V7M10 17v3.500M14 17v3.500M3.500 10H7M3.500 14H7M17 10h3.500M17 14h3.500",
  file: "M6 3h9l4 4v14H6ZM14 3v5h5",
  gauge: "M4 18a9 9 0 1 1 16 0M12 14l4-5",
  info: "M12 20.500a8.500 8.500 0 1 0 0-17 8.500 8.500 0 0 0 0 17ZM12 11v5.500M12 7.600v.1",
  key: "M14.500 14a5 5 0 1 0-4.700-3.300L3.500 17v3.500H7V18h2.500v-2.500l1.800-1.800a5 5 0 0 0 3.200.300ZM16 8.500v.1",
  menu: "M4 7h16M4 12h16M4 17h16",
  more: "M6 12h.1M12 12h.1M18 12h.1",
  out: "M14 4H5v16h9M10 12h10.500M17 8.500l3.500 3.500-3.500 3.500",
  plan: "M3.500 6h17v12h-17ZM3.500 10h17M7 14.500h4",
  plus: "M12 5v14M5 12h14",
  search: "M10.500 17a6.500 6.500 0 1 0 0-13 6.500 6.500 0 0 0 0 13ZM20 20l-4.800-4.800",
  send: "M12 20V5M5.500 11 12 4.500 18.500 11",
  settings: "M4 7h9M17 7h3M4 17h3M11 17h9M15 4.800v4.400M9 14.800v4.400",
  shield: "M12 3.500 19.500 6v6c0 4.500-3.200 7.500-7.500 8.800C7.700 19.500 4.500 16.500 4.500 12V6ZM8.800 12l2.300 2.300 4.200-4.500",
  stop: "M7 7h10v10H7Z",
  team: "M9 11.500a3.500 3.500 0 1 0 0-7 3.500 3.500 0 0 0 0 7ZM2.500 19.500c.5-3.500 3-5.500 6.500-5.500s6 2 6.500 5.500M16 5a3.200 3.200 0 0 1 0 6.200M18 14.300c2 .7 3.200 2.500 3.500 5.200",
  tool: "M14.500 6.500a4 4 0 0 1 5-1.500l-2.800 2.800 1.500 1.500L21 6.500a4 4 0 0 1-5.500 5L7 20l-3-3 8.500-8.500a4 4 0 0 1 2-2Z",
  trash: "M4.500 7h15M9.500 7V4.500h5V7M6.500 7l1 13h9l1-13M10.500 10.500v6M13.500 10.500v6",
};

/** An icon by name; hidden from screen readers. */
export const Icon = ({ name, size = 20 }) => html`
  <svg class="icon" width=${size} height=${size} viewBox="0 0 24 24" fill="none" stroke="currentColor"
    stroke-width="1.75" stroke-linecap="round" stroke-linejoin="round" aria-hidden="true" focusable="false">
    <path d=${DRAWN[name]} />
  </svg>`;
