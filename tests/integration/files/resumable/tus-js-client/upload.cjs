// Uploads a file as an app would: node upload.cjs ENDPOINT TOKEN FILE. Says where it is, and how often it went on.
const { createReadStream, statSync } = require('node:fs');
const tus = require('tus-js-client');

const [endpoint, token, path] = process.argv.slice(2);
let resumed = 0;
const upload = new tus.Upload(createReadStream(path), {
  endpoint,
  uploadSize: statSync(path).size,
  metadata: { filename: 'photo.png', filetype: 'image/png' },
  headers: { Authorization: `Bearer ${token}` },
  retryDelays: Array(30).fill(100),
  onAfterResponse: (request) => {
    resumed += request.getMethod() === 'HEAD' ? 1 : 0;
  },
  onError: (error) => {
    console.error(String(error));
    process.exit(1);
  },
  onSuccess: () => {
    console.log(JSON.stringify({ url: upload.url, resumed }));
    process.exit(0);
  },
});
upload.start();
