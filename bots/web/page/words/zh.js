// 简体中文, as far as the first view needs it; words of the views come with them (`also`).
import chat from "./zh/chat.js";
import markdown from "./zh/markdown.js";
import shell from "./zh/shell.js";

export default { ...shell, ...chat, ...markdown };
