// What a worker may load is said by the headers of its own script.
onmessage = async () => postMessage(await (await fetch("/feed")).text());
