// A photo from the machine's camera: look, take, look again, use.
import { html, useEffect, useRef, useState } from "../lib/dom.js";
import { t } from "../lib/i18n.js";
import { Button, Dialog } from "../lib/parts.js";
import { announce } from "../lib/say.js";
import { drawn } from "./images.js";

/** The dialog; `use` gets the photo as a file. The camera is on only while its picture is shown. */
export function Camera({ use, close }) {
  const { step, video, take, again, turn } = useCamera();
  const box = useRef(null);
  useEffect(() => {
    // The button that was pressed has gone; the next one takes the focus.
    if (step.name !== "asking") box.current.querySelector(".main")?.focus();
  }, [step]);
  const keep = () => {
    use(new File([step.blob], `${t("photo")}-${stamp(new Date())}.jpg`, { type: "image/jpeg" }));
    close();
  };
  return html`<${Dialog} title=${t("Take a photo")} kind="camera" close=${close}>
    <div ref=${box} class="camera-stage">
      ${step.name === "live" && html`<video ref=${video} autoplay playsinline muted aria-label=${t("What the camera sees")}></video>`}
      ${step.name === "taken" && html`<img src=${step.url} alt=${t("The photo that was taken")} />`}
      ${step.name === "asking" && html`<p class="quiet" role="status">${t("Waiting for the camera. The browser may ask you to allow it.")}</p>`}
      ${step.name === "failed" && html`<p role="alert">${step.sentence}</p>`}
      <footer>
        ${step.name === "live" && html`${step.cameras.length > 1 && html`<${Button} run=${turn}>${t("Other camera")}<//>`}
          <${Button} kind="main" icon="camera" run=${take}>${t("Take the photo")}<//>`}
        ${step.name === "taken" && html`<${Button} run=${again}>${t("Take it again")}<//><${Button} kind="main" icon="check" run=${keep}>${t("Use this photo")}<//>`}
        ${step.name === "failed" && html`${navigator.mediaDevices && html`<${Button} run=${again}>${t("Try again")}<//>`}<${Button} kind="main" run=${close}>${t("Close")}<//>`}
      </footer></div><//>`;
}

/** The camera's steps: {name: "asking" | "live" | "taken" | "failed"} with what belongs to each. */
function useCamera() {
  const [step, setStep] = useState({ name: "asking" });
  const [wanted, setWanted] = useState({ facingMode: { ideal: "environment" } });
  const video = useRef(null);
  useEffect(() => {
    const running = start(wanted, setStep);
    return () => running.stop();
  }, [wanted]);
  useEffect(() => { if (step.name === "live") video.current.srcObject = step.stream; }, [step]);
  useEffect(() => (step.url ? () => URL.revokeObjectURL(step.url) : undefined), [step.url]);
  const ask = (constraint) => {
    setStep({ name: "asking" });
    setWanted({ ...constraint });
  };
  const take = async () => {
    const { videoWidth, videoHeight } = video.current;
    if (!videoWidth) return; // it has not shown anything yet
    const blob = await drawn(video.current, videoWidth, videoHeight);
    for (const track of step.stream.getTracks()) track.stop();
    setStep({ name: "taken", blob, url: URL.createObjectURL(blob) });
    announce(t("The photo is taken. Use it, or take it again."));
  };
  const turn = () => {
    const at = step.cameras.findIndex((one) => one.deviceId === step.current);
    ask({ deviceId: { exact: step.cameras[(at + 1) % step.cameras.length].deviceId } });
  };
  return { step, video, take, again: () => ask(wanted), turn };
}

/** Turn a camera on and say what became of it; `stop` turns it off, also when it comes on later. */
function start(wanted, tell) {
  let stopped = false;
  let stream = null;
  const stop = () => {
    stopped = true;
    for (const track of stream?.getTracks() ?? []) track.stop();
  };
  const run = async () => {
    try {
      if (!navigator.mediaDevices?.getUserMedia) throw new DOMException("", window.isSecureContext ? "NotFoundError" : "SecurityError");
      stream = await navigator.mediaDevices.getUserMedia({ video: { width: { ideal: 1920 }, height: { ideal: 1080 }, ...wanted }, audio: false });
      if (stopped) return stop();
      const [track] = stream.getVideoTracks();
      track.addEventListener("ended", () => tell((now) => (now.name === "live" ? { name: "failed", sentence: t("The camera was switched off or unplugged.") } : now)));
      const cameras = (await navigator.mediaDevices.enumerateDevices()).filter((one) => one.kind === "videoinput");
      if (!stopped) tell({ name: "live", stream, cameras, current: track.getSettings().deviceId });
    } catch (error) {
      if (!stopped) tell({ name: "failed", sentence: sentenceOf(error) });
    }
    return undefined;
  };
  run();
  return { stop };
}

function sentenceOf(error) {
  switch (error.name) {
    case "SecurityError":
      return t("The browser gives the camera to pages over https alone. Ask an admin to open IT0 over https, or attach a photo as a file.");
    case "NotAllowedError":
      return t("The camera is not allowed for this page. Allow it beside the address bar of the browser and try again, or attach a photo as a file.");
    case "NotFoundError":
    case "OverconstrainedError":
      return t("There is no camera on this machine. Attach a photo as a file.");
    default:
      return t("The camera cannot be used: another program may have it. Close that and try again.");
  }
}

/** 2026-11-23-0915, in the reader's own time. */
function stamp(now) {
  const two = (n) => String(n).padStart(2, "0");
  return `${now.getFullYear()}-${two(now.getMonth() + 1)}-${two(now.getDate())}-${two(now.getHours())}${two(now.getMinutes())}${two(now.getSeconds())}`;
}
