// Runs Lighthouse on pages of a running site and fails if a score is below 100. Prints the audits that failed.
//
//   node tests/lighthouse/check.mjs http://127.0.0.1:8080 'session=…' /account /account/sessions -- / /login
//
// Pages before `--` are requested with the cookie. Pages after it are public: they are also checked for SEO.
import { launch } from 'chrome-launcher'
import lighthouse from 'lighthouse'

const [site, cookie, ...paths] = process.argv.slice(2)
const split = paths.indexOf('--')
const pages = [
  ...paths.slice(0, split).map((path) => ({ path, isPublic: false })),
  ...paths.slice(split + 1).map((path) => ({ path, isPublic: true })),
]

const chrome = await launch({
  chromePath: process.env.CHROME_PATH ?? '/usr/bin/chromium',
  chromeFlags: ['--headless=new', '--no-sandbox', '--disable-gpu', '--disable-dev-shm-usage'],
})

// A page that Chromium painted too late has no score; it is loaded again.
async function measure({ path, isPublic }, attempts = 3) {
  const { lhr } = await lighthouse(site + path, {
    port: chrome.port,
    onlyCategories: ['performance', 'accessibility', 'best-practices', ...(isPublic ? ['seo'] : [])],
    extraHeaders: isPublic ? {} : { Cookie: cookie },
    logLevel: 'error',
    output: 'json',
  })
  return lhr.runtimeError && attempts > 1 ? measure({ path, isPublic }, attempts - 1) : lhr
}

let failures = 0
try {
  for (const { path, isPublic } of pages) {
    const { categories, audits, finalDisplayedUrl } = await measure({ path, isPublic })
    const scores = Object.values(categories).map((category) => `${category.title} ${Math.round(category.score * 100)}`)
    console.log(`${path}: ${scores.join(', ')}`)
    if (new URL(finalDisplayedUrl).pathname !== path) {
      console.log(`  led to ${finalDisplayedUrl}`)
      failures += 1
    }
    for (const category of Object.values(categories)) {
      if (category.score < 1) {
        failures += 1
      }
      for (const { id, weight } of category.auditRefs) {
        const audit = audits[id]
        if (weight > 0 && audit.score !== null && audit.score < 0.9) {
          console.log(`  ${category.title}: ${audit.title} ${audit.displayValue ?? ''}`)
          console.log(`    ${JSON.stringify(audit.details?.items ?? []).slice(0, 500)}`)
        }
      }
    }
  }
} finally {
  await chrome.kill()
}
process.exit(failures === 0 ? 0 : 1)
