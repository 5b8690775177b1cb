// 简体中文. One module for each part of the page; a test finds messages that are missing here.
import chat from "./zh/chat.js";
import markdown from "./zh/markdown.js";
import shell from "./zh/shell.js";
import views from "./zh/views.js";

export default { ...shell, ...chat, ...markdown, ...views };
