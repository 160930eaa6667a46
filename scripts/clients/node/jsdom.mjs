// jQuery in jsdom: the same script as in Chromium, at the page's address.
import readline from 'node:readline'
import { readFileSync } from 'node:fs'
import { JSDOM } from 'jsdom'
import { version } from './lines.mjs'

const { window } = new JSDOM('', { url: process.argv[2], runScripts: 'outside-only' })
window.eval(readFileSync('node_modules/jquery/dist/jquery.js', 'utf8'))
window.eval(readFileSync('ajax.js', 'utf8'))

console.log(`ready\t${version('jquery')}, jsdom ${version('jsdom')}`)
for await (const line of readline.createInterface({ input: process.stdin })) {
  console.log(await new Promise(resolve => window.ajax(line, resolve)))
}
process.exit()
