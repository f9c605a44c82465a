// What a test tells a client, and what the client asks of it: lines on standard input and output.
import { createInterface } from 'node:readline'

const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]()
const line = async () => (await lines.next()).value

export const told = JSON.parse(await line())
export const issuer = new URL(told.issuer)

/** Has somebody's browser go there; returns the address it is sent back to. */
export async function browse(url) {
  console.log('browse', url.href ?? url)
  return new URL(await line())
}

export const done = (step) => console.log('done', step)
export const finish = () => process.exit(0)
