// What each client's script does in a bare database, it does in another one: so what a
// guarded database does otherwise is the guard's doing.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { bare } from './lib/guard.mjs'
import { missing } from './lib/pgmq.mjs'

for (const [client, skip] of [['graphile_worker', false], ['pg_boss', false], ['pgmq', await missing()]]) {
	test(`${client} behaves the same in two bare databases`, { skip }, async () => {
		const { script } = await import(`./lib/${client}_script.mjs`)
		const databases = await Promise.all([bare(`baseline_${client}_1`), bare(`baseline_${client}_2`)])
		const [first, second] = await Promise.all(databases.map((database) => script(database)))
		assert.deepEqual(first, second)
		assert.ok(first.length > 15)
		for (const database of databases) await database.close()
	})
}
