\ir attach.psql
SELECT plan(18);
SELECT release('v1', first_rules()) \g /dev/null
SELECT policy_attach('shop.jobs', notify => 'shop_jobs') \g /dev/null

SELECT bring('read.a') AS runs \gset
SELECT take(:runs) \g /dev/null
SELECT bring('read.b') AS id \gset
SELECT bring('read.other') AS other \gset
SELECT halt_id AS halt FROM policy_halt('{"topic": "read.b"}', 'an incident') \gset
SELECT is(take(), NULL, 'what a halt covers does not start');
SELECT is(take(), 'read.other', 'and is not in the way of what it does not cover');
SELECT is((status_of(:id), kept_of(:'id'))::text, '(held,halted)', 'it is held');
SELECT is(decided_of(:'id'), 'submit ALLOW read, halt DENY -', 'and recorded');
UPDATE shop.jobs SET status = 'running' WHERE id = :id;
SELECT is((status_of(:id), decided_of(:'id'))::text, '(held,"submit ALLOW read, halt DENY -")', 'once, and not once a try');
UPDATE shop.jobs SET status = 'pending' WHERE id = :id;
SELECT is(status_of(:id), 'held', 'its client does not let it go');
SELECT bring('read.b') AS later \gset
SELECT is((status_of(:later), decided_of(:'later'))::text, '(pending,"submit ALLOW read")', 'what comes in meanwhile is decided by the policy');
SELECT is((SELECT status FROM shop.jobs WHERE id = :runs), 'running', 'what runs goes on');
SELECT bring('prod.a') AS prod \gset
SELECT halt_id AS all_halt FROM policy_halt('{}', 'everything') \gset
UPDATE policy.approvals SET allow_self = true WHERE job_key = :'prod';
SELECT is(take(:other), NULL, 'a halt of everything stops everything');
SELECT policy_resume(:halt, 'it is over') \g /dev/null
SELECT is((status_of(:id), kept_of(:'id'))::text, '(pending,ready)', 'policy_resume lets it go');
SELECT is(take(:id), NULL, 'where no other halt covers it');
SELECT is((status_of(:id), kept_of(:'id'))::text, '(held,halted)', 'which holds it again');
SELECT policy_resume(:all_halt, NULL) \g /dev/null
SELECT is(take(:id), 'read.b', 'then it starts');
SELECT is(take(:later), 'read.b', 'as does what was not tried meanwhile');
SELECT bring('mail.a') AS mail \gset
SELECT put_kept(:'mail', $$run_after = now() - interval '1 second'$$) \g /dev/null
UPDATE shop.jobs SET run_at = now() - interval '1 second' WHERE id = :mail;
SELECT halt_id AS halt FROM policy_halt('{"topic": "mail.*"}', 'no mail') \gset
SELECT is((take(:mail), kept_of(:'mail'))::text, '(,halted)', 'what has waited for its time is held, too');
SELECT is((policy_cancel('shop.jobs', :'mail', 'no more')).state, 'cancelled', 'an operator may cancel it');
SELECT policy_resume(:halt, NULL) \g /dev/null
SELECT is(kept_of(:'mail'), 'cancelled', 'and it stays so');
SELECT is(count(*), 0::bigint, 'nothing is left halted') FROM policy.guarded_jobs WHERE state = 'halted';
SELECT * FROM finish();
ROLLBACK;
