// 回答中的格式：代码、表格、任务与链接。
export default {
  "A character that is not shown": "一个不可见的字符",
  "Code": "代码",
  "Code, {language}": "代码，{language}",
  "Copy code": "复制代码",
  "Done": "已完成",
  "Not done": "未完成",
  "Picture": "图片",
  "Show all {n} lines": "显示全部 {n} 行",
  "Show less": "收起",
  "Table": "表格",
};
