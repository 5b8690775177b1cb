// Parsing and drawing of answers in one piece, which is loaded when the first answer is near.
import MarkdownIt from "markdown-it";
import { makeParser } from "./tree.js";

export { draw } from "./draw.js";
export { Answer } from "./stream.js";

export const parser = makeParser(MarkdownIt);
