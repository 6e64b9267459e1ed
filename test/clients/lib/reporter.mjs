// Results as TAP that prove reads: a line a test, subtests too, and what went wrong to the
// error output.
export default async function* report(source)
{
	let count = 0
	for await (const { type, data } of source) {
		if (type !== 'test:pass' && type !== 'test:fail') continue
		const result = type === 'test:pass' ? 'ok' : 'not ok'
		const skipped = data.skip === undefined ? '' : ` # SKIP ${data.skip === true ? '' : data.skip}`
		const cause = data.details?.error?.cause ?? data.details?.error
		yield `${result} ${++count} - ${data.name.replaceAll('#', '\\#')}${skipped}\n`
		if (type === 'test:fail') process.stderr.write(`not ok: ${data.name}\n${cause?.stack ?? cause}\n`)
	}
	yield `1..${count}\n`
}
