// Put on the page by test_attachment_tray.py: the parts of a composer that have to do with files.
async (base) => {
  const [{ html, render, useRef }, parts] = await Promise.all([
    import(`${base}lib/dom.js`),
    import(`${base}chat/attachments.js`),
  ]);
  const { Notes } = await import(`${base}lib/parts.js`);
  const { AttachButtons, AttachmentTray, DropZone, pasteInto, useAttachments } = parts;
  const main = document.createElement("main");
  const announcer = document.getElementById("announcer");
  document.body.replaceChildren(main, announcer);

  /** Object URLs that are held now. */
  const held = new Set();
  const [create, revoke] = [URL.createObjectURL, URL.revokeObjectURL];
  URL.createObjectURL = (blob) => {
    const url = create.call(URL, blob);
    held.add(url);
    return url;
  };
  URL.revokeObjectURL = (url) => {
    held.delete(url);
    revoke.call(URL, url);
  };

  const stage = { held, attachments: null, gone: () => render(null, main) };
  function Composer() {
    const attachments = useAttachments();
    stage.attachments = attachments;
    const field = useRef(null);
    return html`<${DropZone} attachments=${attachments}><h1>IT0</h1>
      <${AttachmentTray} attachments=${attachments} />
      <textarea ref=${field} aria-label="Message" onPaste=${pasteInto(attachments)}></textarea>
      <${AttachButtons} attachments=${attachments} /><//><${Notes} />`;
  }
  render(html`<${Composer} />`, main);
  window.stage = stage;
}
