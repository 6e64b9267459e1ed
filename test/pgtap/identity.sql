\ir queue.psql
SELECT plan(154);

CREATE ROLE policy_test_free LOGIN;
CREATE ROLE policy_test_tenant LOGIN;
CREATE ROLE policy_test_agent LOGIN;
CREATE ROLE policy_test_other LOGIN;
CREATE ROLE policy_test_pooler LOGIN NOINHERIT;
CREATE ROLE policy_test_heir LOGIN;
CREATE ROLE policy_test_switch LOGIN NOINHERIT;
CREATE ROLE policy_test_operator LOGIN;
CREATE ROLE policy_test_group;
CREATE ROLE policy_test_member LOGIN;
CREATE ROLE policy_test_aside LOGIN NOINHERIT;
CREATE ROLE policy_test_both LOGIN;
CREATE ROLE policy_test_same LOGIN;
GRANT policy_test_group TO policy_test_member, policy_test_aside;
GRANT policy_test_free, policy_test_other, policy_test_same TO policy_test_switch;
GRANT policy_test_free, policy_test_agent, policy_test_other, policy_test_member TO policy_test_pooler;
GRANT policy_test_agent, policy_test_other TO policy_test_heir;
SELECT policy_grant('policy_test_free', 'submit'),
	policy_grant('policy_test_tenant', 'submit', '{"tenant_id": "acme"}'),
	policy_grant('policy_test_agent', 'submit', '{"tenant_id": "acme", "actor_id": "agent-7", "actor_type": "agent", "actor_roles": ["dev", "ops"]}'),
	policy_grant('policy_test_other', 'submit', '{"tenant_id": "globex"}'),
	policy_grant('policy_test_group', 'submit', '{"tenant_id": "initech"}'),
	policy_grant('policy_test_aside', 'submit'),
	policy_grant('policy_test_both', 'submit'),
	policy_grant('policy_test_same', 'submit', '{"tenant_id": "acme"}'),
	policy_grant('policy_test_operator', 'operate'),
	policy_grant('policy_test_switch', 'submit', '{"tenant_id": "acme"}'),
	policy_grant('policy_test_pooler', 'proxy'),
	policy_grant('policy_test_heir', 'proxy') \g /dev/null
SELECT is(release('v1', '
  - {id: acme, match: {tenants: [acme]}, decision: allow}
  - {id: seven, match: {actor_ids: [agent-7]}, decision: allow, constraints: {seven: true}}
  - {id: ops, match: {actor_roles: [ops], actor_types: [agent]}, decision: allow, constraints: {ops: true}}
  - {id: initech, match: {tenants: [initech]}, decision: allow}'), 'v1', 'a policy that looks at who asks');

-- Runs a statement that gives an id, as a login with a role set (NULL: none).
CREATE FUNCTION as_login(login text, role text, statement text) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
	me text := session_user;
	id bigint;
BEGIN
	PERFORM set_config('session_authorization', login, true);
	PERFORM set_config('role', coalesce(role, 'none'), true);
	EXECUTE statement INTO id;
	PERFORM set_config('role', 'none', true);
	PERFORM set_config('session_authorization', me, true);
	RETURN id;
END
$$;
CREATE FUNCTION submit_as(login text, job jsonb, role text DEFAULT NULL) RETURNS bigint LANGUAGE sql AS $$
	SELECT as_login(login, role, format('SELECT (policy_submit(%L)).job_id', jsonb_build_object('topic', 'a') || job))
$$;
CREATE FUNCTION insert_as(login text, columns text, vals text, role text DEFAULT NULL) RETURNS bigint LANGUAGE sql AS $$
	SELECT as_login(login, role, format('INSERT INTO policy.jobs (topic, %s) VALUES (%L, %s) RETURNING job_id', columns, 'a', vals))
$$;
-- Who a job says it is for.
CREATE FUNCTION facts(id bigint) RETURNS text LANGUAGE sql AS $$
	SELECT concat_ws(' ', state, coalesce(tenant_id, '-'), coalesce(actor_id, '-'), coalesce(actor_type, '-'), coalesce(actor_roles::text, '-')) FROM policy.jobs WHERE job_id = id
$$;
CREATE FUNCTION reason(id bigint) RETURNS text LANGUAGE sql AS $$
	SELECT reason FROM policy.decisions d JOIN policy.jobs j USING (decision_id, decided_at) WHERE j.job_id = id
$$;

--
-- What is not bound is a claim
--
SELECT is(facts(submit_as('policy_test_free', job)), wanted, 'unbound: ' || job::text)
FROM (VALUES ('{}'::jsonb, 'denied - - - -'), ('{"tenant": "acme"}', 'ready acme - - -'), ('{"tenant": "globex"}', 'denied globex - - -'), ('{"actor_id": "agent-7"}', 'ready - agent-7 - -')) AS t(job, wanted);

--
-- What is bound is stamped
--
SELECT is(facts(submit_as('policy_test_tenant', job)), wanted, 'a tenant is bound: ' || job::text)
FROM (VALUES ('{}'::jsonb, 'ready acme - - -'), ('{"tenant": "acme"}', 'ready acme - - -'), ('{"tenant_id": " ACME "}', 'ready acme - - -'), ('{"tenant_id": "", "tenant": null}', 'ready acme - - -'),
	('{"actor_id": "me", "actor_type": "person", "actor_roles": ["x"]}', 'ready acme me person ["x"]'), ('{"tenant": "acm\u200be"}', 'ready acme - - -')) AS t(job, wanted);
SELECT is(facts(submit_as('policy_test_agent', job)), 'ready acme agent-7 agent ["dev", "ops"]', 'all is bound: ' || job::text)
FROM (VALUES ('{}'::jsonb), ('{"tenant": "acme", "actor": {"id": "agent-7", "type": "agent", "roles": ["ops", "dev"]}}'), ('{"actor": {"id": "Agent-7"}}'), ('{"actor_roles": []}'),
	('{"actor_roles": ["OPS", "dev", ""]}'), ('{"actor_roles": ["dev", "ops", "dev"]}'), ('{"actor_roles": null, "actor_type": " "}'), ('{"actor": {"id": "agent-7"}, "actor_id": "agent-7"}')) AS t(job);
SELECT is(facts(insert_as('policy_test_agent', columns, vals)), 'ready acme agent-7 agent ["dev", "ops"]', format('in a plain insert, too: (%s) (%s)', columns, vals))
FROM (VALUES ('tenant_id', 'NULL'), ('tenant_id', $$'ACME'$$), ('actor_id, actor_type', $$'', 'agent'$$), ('actor_roles', $$'["ops", "dev"]'$$), ('extra', $$'{"tenant": "Acme", "actor": {"id": "agent-7"}}'$$),
	('payload', $$'1'$$)) AS t(columns, vals);
SELECT submit_as('policy_test_agent', '{"payload": 5}') AS id \gset
SELECT is(d.job, '{"topic": "a", "tenant_id": "acme", "actor_id": "agent-7", "actor_type": "agent", "actor_roles": ["dev", "ops"], "payload": 5}'::jsonb, 'the evidence has what was stamped')
FROM policy.decisions d WHERE d.job_key = :'id';
SELECT is((d.tenant_id, d.actor_id, d.matched_rules)::text, '(acme,agent-7,"{acme,seven,ops}")', 'which is what was decided') FROM policy.decisions d WHERE d.job_key = :'id';
SELECT is(evidence_agrees(:id), true, 'and hashed');
SET SESSION AUTHORIZATION policy_test_agent;
COPY policy.jobs (topic, tenant_id, payload) FROM stdin;
copied	\N	1
copied	Acme	2
copied	globex	3
\.
INSERT INTO policy.jobs (topic) SELECT 'selected' FROM generate_series(1, 3);
RESET SESSION AUTHORIZATION;
SELECT is(array_agg(facts(job_id) ORDER BY job_id), '{"ready acme agent-7 agent [\"dev\", \"ops\"]","ready acme agent-7 agent [\"dev\", \"ops\"]"}', 'COPY stamps every row') FROM policy.jobs
WHERE topic = 'copied' AND payload <> '3';
SELECT is((state, tenant_id)::text, '(denied,globex)', 'and denies the one that contradicts') FROM policy.jobs WHERE topic = 'copied' AND payload = '3';
SELECT is(count(*), 3::bigint, 'so does INSERT SELECT') FROM policy.jobs WHERE topic = 'selected' AND facts(job_id) = 'ready acme agent-7 agent ["dev", "ops"]';

--
-- What contradicts it is invalid
--
CREATE TEMP TABLE contradictions (position serial, job jsonb);
INSERT INTO contradictions (job) VALUES ('{"tenant": "globex"}'), ('{"tenant_id": "globex"}'), ('{"tenant_id": "acme", "tenant": "globex"}'), ('{"tenant": "default"}'), ('{"tenant": "acmе"}'), ('{"tenant": "a cme"}'),
	('{"actor_id": "agent-8"}'), ('{"actor": {"id": "agent-8"}}'), ('{"actor_type": "person"}'), ('{"actor": {"type": "person"}}'), ('{"actor_roles": ["dev"]}'), ('{"actor_roles": ["dev", "ops", "admin"]}'),
	('{"actor": {"roles": ["admin"]}}'), ('{"actor_roles": "dev"}'), ('{"actor_roles": [5]}'), ('{"actor_id": 7}'), ('{"tenant": {"id": "acme"}}');
CREATE TEMP TABLE contradicted AS SELECT position, job, submit_as('policy_test_agent', job) AS id FROM contradictions;
SELECT is(state_of(id) || ', ' || reason(id), 'denied, ' || coalesce((regexp_match(reason(id), '^invalid job: .+'))[1], 'invalid job'), 'denied as invalid: ' || job::text) FROM contradicted ORDER BY position;
SELECT is(d.matched_rules, '{}', 'no rule has allowed it: ' || c.job::text) FROM contradicted c JOIN policy.decisions d ON d.job_key = c.id::text ORDER BY position;
SELECT is(d.job ->> 'tenant_id', 'globex', 'the evidence has what it claimed') FROM contradicted c JOIN policy.decisions d ON d.job_key = c.id::text WHERE c.position = 2;
SELECT alike(reason(id), 'invalid job: %tenant_id%', 'and the reason names the field') FROM contradicted WHERE position = 2;
CREATE TEMP TABLE inserted AS SELECT columns, vals, insert_as('policy_test_agent', columns, vals) AS id
FROM (VALUES ('tenant_id', $$'globex'$$), ('extra', $$'{"tenant": "globex"}'$$), ('extra', $$'{"actor": {"id": "agent-8"}}'$$), ('extra', $$'{"actor": {"roles": ["admin"]}}'$$), ('actor_id', $$'x'$$),
	('extra', $$'{"tenant_id": "globex"}'$$), ('actor_roles', $$'{}'$$), ('actor_roles', $$'["admin"]'$$), ('actor_roles', $$'null'$$)) AS t(columns, vals);
SELECT is((state_of(id), reason(id) LIKE 'invalid job: %')::text, CASE vals WHEN $$'null'$$ THEN '(ready,f)' ELSE '(denied,t)' END, format('in a plain insert, too: (%s) (%s)', columns, vals)) FROM inserted;

--
-- Through membership
--
SELECT is(facts(submit_as('policy_test_member', job)), wanted, 'bound to a role that it holds: ' || job::text)
FROM (VALUES ('{}'::jsonb, 'ready initech - - -'), ('{"tenant": "acme"}', 'denied acme - - -')) AS t(job, wanted);
SELECT is(facts(submit_as('policy_test_aside', '{"tenant": "acme"}')), 'ready acme - - -', 'one that does not inherit the role is not bound');
SELECT is(facts(submit_as('policy_test_aside', '{}', 'policy_test_group')), 'ready initech - - -', 'until it has set it');
SELECT is(submitted_by || ' via ' || submitted_via, 'policy_test_aside via policy_test_group', 'the submitter is the login, and the role is kept') FROM job(submit_as('policy_test_aside', '{}', 'policy_test_group'));

-- Several identities
GRANT policy_test_tenant, policy_test_same TO policy_test_both;
SELECT is(facts(submit_as('policy_test_both', '{}')), 'ready acme - - -', 'two identities that are the same are one');
GRANT policy_test_other TO policy_test_both;
CREATE TEMP TABLE two AS SELECT job, submit_as('policy_test_both', job) AS id FROM (VALUES ('{}'::jsonb), ('{"tenant": "acme"}'), ('{"tenant": "globex"}')) t(job);
SELECT is((state_of(id), reason(id) LIKE 'invalid job: %identit%')::text, '(denied,t)', 'two that differ make the job invalid: ' || job::text) FROM two;
REVOKE policy_test_other, policy_test_same FROM policy_test_both;
SELECT is(facts(submit_as('policy_test_both', '{}')), 'ready acme - - -', 'one of them alone does not');
SELECT policy_grant('policy_test_both', 'submit', '{"actor_id": "agent-7"}') \g /dev/null
SELECT is(state_of(submit_as('policy_test_both', '{}')), 'denied', 'two that differ in what they bind differ');
SELECT policy_grant('policy_test_both', 'submit', '{"tenant_id": "acme"}') \g /dev/null
SELECT is(facts(submit_as('policy_test_both', '{}')), 'ready acme - - -', 'an identity can be replaced');
SELECT policy_grant('policy_test_both', 'submit') \g /dev/null
REVOKE policy_test_tenant FROM policy_test_both;
SELECT is(facts(submit_as('policy_test_both', '{"tenant": "globex"}')), 'denied globex - - -', 'and taken away');
SELECT unalike(reason(max(job_id)), 'invalid job%', 'which makes it a claim again') FROM policy.jobs WHERE submitted_by = 'policy_test_both';

--
-- Whatever role is set, the login's own identity binds
--
SELECT is(facts(submit_as('policy_test_switch', job, role)), wanted, format('bound to acme, %s set: %s', coalesce(role, 'no role'), job))
FROM (VALUES ('{}'::jsonb, NULL, 'ready acme - - -'), ('{}', 'policy_test_free', 'ready acme - - -'), ('{"tenant": "globex"}', 'policy_test_free', 'denied globex - - -'),
	('{}', 'policy_test_same', 'ready acme - - -')) AS t(job, role, wanted);
SELECT submit_as('policy_test_switch', '{}', 'policy_test_other') AS id \gset
SELECT alike(reason(:id), 'invalid job: %identit%', 'a role that is bound otherwise makes two identities that differ');
SELECT is(submitted_by || ' via ' || submitted_via, 'policy_test_switch via policy_test_other', 'the submitter is the login') FROM job(:id);
SELECT submit_as('policy_test_switch', '{"tenant": "globex"}', 'policy_test_other') AS id \gset
SELECT alike(reason(:id), 'invalid job: %identit%', 'whichever it claims');

--
-- A proxy speaks for the role that it has set
--
CREATE FUNCTION proxied(role text, job jsonb, login text DEFAULT 'policy_test_pooler') RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	id bigint := submit_as(login, job, role);
BEGIN
	RETURN (SELECT concat_ws(', ', facts(id), submitted_by, submitted_via) FROM policy.jobs WHERE job_id = id);
END
$$;
SELECT is(proxied(role, job), wanted, format('a proxy with %s set: %s', role, job))
FROM (VALUES ('policy_test_agent', '{}'::jsonb, 'ready acme agent-7 agent ["dev", "ops"], policy_test_agent, policy_test_pooler'),
	('policy_test_agent', '{"tenant": "globex"}', 'denied globex - - -, policy_test_agent, policy_test_pooler'),
	('policy_test_other', '{}', 'denied globex - - -, policy_test_other, policy_test_pooler'),
	('policy_test_other', '{"tenant": "acme"}', 'denied acme - - -, policy_test_other, policy_test_pooler'),
	('policy_test_free', '{"tenant": "acme"}', 'ready acme - - -, policy_test_free, policy_test_pooler'),
	('policy_test_member', '{}', 'ready initech - - -, policy_test_member, policy_test_pooler')) AS t(role, job, wanted);
SELECT is(proxied('policy_test_agent', '{}', 'policy_test_heir'), 'ready acme agent-7 agent ["dev", "ops"], policy_test_agent, policy_test_heir',
	'a proxy that holds many identities speaks for the one that it has set');
SELECT is(proxied('policy_test_other', '{}', 'policy_test_heir'), 'denied globex - - -, policy_test_other, policy_test_heir', 'or the other');
SELECT submit_as('policy_test_heir', '{}') AS id \gset
SELECT alike(reason(:id), 'invalid job: %identit%', 'and where it has set none, for all that it holds');
SELECT is((submitted_by, submitted_via)::text, '(policy_test_heir,)', 'as itself') FROM job(:id);
SELECT policy_grant('policy_test_pooler', 'submit', '{"tenant_id": "pool"}') \g /dev/null
SELECT is(proxied(NULL, '{}'), 'denied pool - - -, policy_test_pooler', 'a proxy may have an identity of its own');
SELECT is(proxied('policy_test_agent', '{}'), 'ready acme agent-7 agent ["dev", "ops"], policy_test_agent, policy_test_pooler', 'which is not that of the role it sets');
SELECT policy_revoke('policy_test_pooler', 'proxy') \g /dev/null
SELECT submit_as('policy_test_pooler', '{}', 'policy_test_agent') AS id \gset
SELECT is(submitted_by || ' via ' || submitted_via, 'policy_test_pooler via policy_test_agent', 'without the duty it speaks for itself') FROM job(:id);
SELECT alike(reason(:id), 'invalid job: %identit%', 'and both identities count');

--
-- Other ways to say who one is
--
CREATE FUNCTION insert_definer(tenant text) RETURNS bigint LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
	AS $$ INSERT INTO policy.jobs (topic, tenant_id) VALUES ('a', tenant) RETURNING job_id $$;
SELECT is(facts(as_login('policy_test_tenant', NULL, 'SELECT helper.insert_definer(NULL)')), 'ready acme - - -', 'a function of another owner''s binds its caller');
SELECT is(facts(as_login('policy_test_other', NULL, $$SELECT helper.insert_definer('acme')$$)), 'denied acme - - -', 'whatever it says');
CREATE FUNCTION insert_plain() RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
	id bigint;
BEGIN
	INSERT INTO policy.jobs (topic) VALUES ('a') RETURNING job_id INTO id;
	RETURN id;
END
$$;
SELECT is(array_agg(facts(as_login(login, NULL, 'SELECT helper.insert_plain()')) ORDER BY n), '{"ready acme - - -","denied globex - - -","denied - - - -","ready acme - - -"}', 'one plan serves many logins')
FROM (VALUES (1, 'policy_test_tenant'), (2, 'policy_test_other'), (3, 'policy_test_free'), (4, 'policy_test_tenant')) AS t(n, login);
SELECT is(facts(insert_as('policy_test_tenant', 'submitted_by, submitted_via', $$'policy_test_free', 'x'$$)), 'ready acme - - -', 'nor does it help to write who submits');

-- What was stamped is what an idempotency key is for.
SELECT is(submit_as('policy_test_tenant', '{"idempotency_key": "k"}'), submit_as('policy_test_tenant', job), 'the same job once it is stamped: ' || job::text)
FROM (VALUES ('{"idempotency_key": "k", "tenant": "acme"}'::jsonb), ('{"idempotency_key": "k", "tenant_id": " Acme"}'), ('{"idempotency_key": "k", "tenant_id": null}')) AS t(job);
SELECT isnt(submit_as('policy_test_tenant', '{"idempotency_key": "k"}'), submit_as('policy_test_other', '{"idempotency_key": "k"}'), 'a key is of the tenant that is bound');

--
-- On update, too
--
CREATE FUNCTION update_as(login text, id bigint, assignments text) RETURNS text LANGUAGE sql AS $$
	SELECT facts(as_login(login, NULL, format('UPDATE policy.jobs SET %s WHERE job_id = %s RETURNING job_id', assignments, id)))
$$;
SELECT submit_as('policy_test_agent', '{}') AS id \gset
SELECT is(update_as('policy_test_agent', :id, assignments), 'ready acme agent-7 agent ["dev", "ops"]', 'a change keeps what is bound: ' || assignments)
FROM (VALUES ('payload = $$1$$'), ('tenant_id = NULL'), ('tenant_id = $$ACME$$, actor_id = NULL'), ('actor_type = NULL, actor_roles = NULL'), ('actor_roles = $$["ops", "DEV"]$$'),
	('extra = $${"tenant": "acme"}$$')) AS t(assignments);
SELECT is(evidence_agrees(:id), true, 'in the evidence as well');
CREATE TEMP TABLE changed AS SELECT assignments, c.id, split_part(update_as('policy_test_agent', c.id, assignments), ' ', 1) AS state
FROM (VALUES ('tenant_id = $$globex$$'), ('actor_id = $$agent-8$$'), ('actor_type = $$person$$'), ('actor_roles = $$["admin"]$$'), ('extra = $${"tenant": "globex"}$$'),
	('extra = $${"actor": {"id": "x"}}$$')) AS t(assignments), LATERAL (SELECT submit_as('policy_test_agent', jsonb_build_object('payload', assignments)) AS id) c;
SELECT is((state, state_of(id), reason(id) LIKE 'invalid job: %')::text, '(denied,denied,t)', 'a change that contradicts it is denied: ' || assignments) FROM changed;
SELECT is(count(DISTINCT id), 6::bigint, 'each of them') FROM changed;
SELECT submit_as('policy_test_tenant', '{"idempotency_key": "u"}') AS id \gset
SET SESSION AUTHORIZATION policy_test_tenant;
INSERT INTO policy.jobs (topic, idempotency_key) VALUES ('a', 'u') ON CONFLICT (policy.idempotency_hash(tenant_id, extra, idempotency_key)) WHERE idempotency_key IS NOT NULL
	DO UPDATE SET tenant_id = 'globex';
RESET SESSION AUTHORIZATION;
SELECT alike(reason(:id), 'invalid job: %', 'so is one by ON CONFLICT');
SELECT submit_as('policy_test_free', '{"tenant": "acme"}') AS id \gset
SELECT policy_grant('policy_test_free', 'submit', '{"tenant_id": "globex"}') \g /dev/null
SELECT is(update_as('policy_test_free', :id, 'payload = $$1$$'), 'denied acme - - -', 'what is bound meanwhile counts at the next change');
SELECT submit_as('policy_test_tenant', '{}') AS id \gset
SELECT throws_ok(format('SELECT update_as(%L, %s, %L)', 'policy_test_other', :id, 'payload = $$1$$'), '42501', NULL, 'nobody changes another''s job');
SELECT throws_ok(format('SELECT update_as(%L, %s, %L)', 'policy_test_same', :id, 'payload = $$1$$'), '42501', NULL, 'of the same tenant neither');
SELECT policy_grant('policy_test_operator', 'submit') \g /dev/null
SELECT is(update_as('policy_test_operator', :id, 'payload = $$1$$'), 'ready acme - - -', 'but an operator');
SELECT is((submitted_by, (SELECT session_role FROM policy.decisions d WHERE d.decision_id = j.decision_id))::text, '(policy_test_tenant,policy_test_operator)', 'who does not become its submitter, and is in the evidence')
FROM job(:id) j;

-- Whose job it is
CREATE FUNCTION try_as(login text, role text, statement text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
	PERFORM as_login(login, role, statement);
	RETURN 'done';
EXCEPTION WHEN OTHERS THEN
	RETURN SQLSTATE;
END
$$;
SELECT policy_grant('policy_test_pooler', 'proxy') \g /dev/null
SELECT submit_as('policy_test_pooler', '{"payload": 0}', 'policy_test_agent') AS id \gset
SELECT is(try_as(login, role, format('UPDATE policy.jobs SET payload = %L WHERE job_id = %s RETURNING job_id', n, :id)), wanted, format('a job that a proxy submitted for agent, changed by %s with %s set: %s', login,
	coalesce(role, 'no role'), wanted))
FROM (VALUES (1, 'policy_test_pooler', 'policy_test_other', '42501'), (2, 'policy_test_pooler', NULL, '42501'), (3, 'policy_test_tenant', NULL, '42501'), (4, 'policy_test_heir', NULL, '42501'),
	(5, 'policy_test_pooler', 'policy_test_agent', 'done'), (6, 'policy_test_agent', NULL, 'done'), (7, 'policy_test_heir', 'policy_test_agent', 'done'), (8, 'policy_test_operator', NULL, 'done')) AS t(n, login, role, wanted);
SELECT policy_revoke('policy_test_heir', 'proxy') \g /dev/null
SELECT is(try_as('policy_test_heir', 'policy_test_agent', format('UPDATE policy.jobs SET payload = %L WHERE job_id = %s RETURNING job_id', 9, :id)), '42501',
	'who is no proxy speaks for itself, whatever role it sets');
SELECT is(try_as(login, role, format('SELECT job_id FROM policy_cancel(%s, %L)', :id, 'x')), wanted, format('cancelled by %s with %s set: %s', login, coalesce(role, 'no role'), wanted))
FROM (VALUES ('policy_test_pooler', 'policy_test_other', '42501'), ('policy_test_pooler', NULL, '42501'), ('policy_test_heir', 'policy_test_agent', '42501'), ('policy_test_tenant', NULL, '42501'),
	('policy_test_pooler', 'policy_test_agent', 'done')) AS t(login, role, wanted);
SELECT is(state_of(:id), 'cancelled', 'by the proxy for its submitter');

SELECT * FROM finish();
ROLLBACK;
