/*
 * tree.c
 *	  A checked policy as bytes.
 *
 * Integers are four bytes, times eight, in the machine's order; a string is its
 * length, its bytes and a NUL; a length of -1 is NULL.  Writing and reading go
 * through the same structures in the same order: write_x is followed by read_x.
 */
#include "postgres.h"

#include "miscadmin.h"

#include "language/tree.h"

static void
write_int(StringInfo out, int32 value)
{
	appendBinaryStringInfo(out, (char *) &value, sizeof(value));
}

pg_noinline static void
report_early_end(void)
{
	ereport(ERROR,
			(errcode(ERRCODE_DATA_CORRUPTED),
			 errmsg("stored policy_document is damaged"),
			 errdetail("Its tree ends early.")));
}

static inline const char *
take(PolicyTree *tree, Size size)
{
	const char *piece = tree->next;

	if (unlikely((Size) (tree->end - tree->next) < size))
		report_early_end();
	tree->next += size;
	return piece;
}

/* Memory for what is read: of the tree's own room for as long as there is any. */
static void *
place_for(PolicyTree *tree, Size size)
{
	void	   *place = tree->room.bytes + tree->used;

	if (size > sizeof(tree->room) - tree->used)
		return palloc(size);
	tree->used += MAXALIGN(size);
	return place;
}

static void *
zeroed_place_for(PolicyTree *tree, Size size)
{
	return memset(place_for(tree, size), 0, size);
}

static inline int32
read_int(PolicyTree *tree)
{
	int32		value;

	memcpy(&value, take(tree, sizeof(value)), sizeof(value));
	return value;
}

/* A count of what takes at least a byte each. */
static inline int32
read_count(PolicyTree *tree)
{
	int32		count = read_int(tree);

	if (unlikely(count < 0 || count > tree->end - tree->next))
		report_early_end();
	return count;
}

static void
write_time(StringInfo out, TimestampTz value)
{
	appendBinaryStringInfo(out, (char *) &value, sizeof(value));
}

static TimestampTz
read_time(PolicyTree *tree)
{
	TimestampTz value;

	memcpy(&value, take(tree, sizeof(value)), sizeof(value));
	return value;
}

static void
write_bytes(StringInfo out, const char *bytes, int len)
{
	write_int(out, len);
	appendBinaryStringInfo(out, bytes, len);
	appendStringInfoChar(out, '\0');
}

static void
write_string(StringInfo out, const char *string)
{
	if (string == NULL)
		write_int(out, -1);
	else
		write_bytes(out, string, strlen(string));
}

static const char *
read_bytes(PolicyTree *tree, int *len)
{
	*len = read_int(tree);
	if (*len < 0)
		return NULL;
	return take(tree, (Size) *len + 1);
}

static const char *
read_string(PolicyTree *tree)
{
	int			len;

	return read_bytes(tree, &len);
}

static void
write_node(StringInfo out, const PolicyNode *node)
{
	CHECK_FOR_INTERRUPTS();
	write_int(out, node->kind);
	switch (node->kind)
	{
		case POLICY_NODE_SCALAR:
			write_int(out, node->u.scalar.plain);
			write_bytes(out, node->u.scalar.text, node->u.scalar.len);
			break;
		case POLICY_NODE_SEQUENCE:
			write_int(out, node->u.sequence.count);
			for (int i = 0; i < node->u.sequence.count; i++)
				write_node(out, node->u.sequence.items[i]);
			break;
		case POLICY_NODE_MAPPING:
			write_int(out, node->u.mapping.count);
			for (int i = 0; i < node->u.mapping.count; i++)
			{
				write_node(out, node->u.mapping.pairs[i].key);
				write_node(out, node->u.mapping.pairs[i].value);
			}
			break;
	}
}

static PolicyNode *
read_node(PolicyTree *tree)
{
	PolicyNode *node = zeroed_place_for(tree, sizeof(PolicyNode));

	check_stack_depth();
	node->kind = read_int(tree);
	switch (node->kind)
	{
		case POLICY_NODE_SCALAR:
			node->u.scalar.plain = read_int(tree) != 0;
			node->u.scalar.text = unconstify(char *, read_bytes(tree, &node->u.scalar.len));
			break;
		case POLICY_NODE_SEQUENCE:
			node->u.sequence.count = read_count(tree);
			node->u.sequence.items = place_for(tree, sizeof(PolicyNode *) * (node->u.sequence.count + 1));
			for (int i = 0; i < node->u.sequence.count; i++)
				node->u.sequence.items[i] = read_node(tree);
			break;
		case POLICY_NODE_MAPPING:
			node->u.mapping.count = read_count(tree);
			node->u.mapping.pairs = place_for(tree, sizeof(PolicyPair) * (node->u.mapping.count + 1));
			for (int i = 0; i < node->u.mapping.count; i++)
			{
				node->u.mapping.pairs[i].key = read_node(tree);
				node->u.mapping.pairs[i].value = read_node(tree);
			}
			break;
	}
	return node;
}

/* A node that may not be there. */
static void
write_optional_node(StringInfo out, const PolicyNode *node)
{
	write_int(out, node != NULL);
	if (node != NULL)
		write_node(out, node);
}

static PolicyNode *
read_optional_node(PolicyTree *tree)
{
	return read_int(tree) != 0 ? read_node(tree) : NULL;
}

/* Passes over what read_node() would read. */
static void
skip_node(PolicyTree *tree)
{
	int			kind = read_int(tree);
	int			count;
	int			len;

	check_stack_depth();
	if (kind == POLICY_NODE_SCALAR)
	{
		(void) read_int(tree);
		(void) read_bytes(tree, &len);
		return;
	}
	count = read_count(tree);
	for (int i = 0; i < count; i++)
	{
		if (kind == POLICY_NODE_MAPPING)
			skip_node(tree);
		skip_node(tree);
	}
}

static void
skip_optional_mapping(PolicyTree *tree, PolicyTreeMapping *mapping)
{
	PolicyTree	within;

	memset(mapping, 0, sizeof(PolicyTreeMapping));
	if (read_int(tree) == 0)
		return;
	mapping->bytes = tree->next;
	skip_node(tree);
	mapping->len = tree->next - mapping->bytes;
	within.next = mapping->bytes + sizeof(int32);
	within.end = tree->next;
	mapping->count = read_count(&within);
}

static void
write_paths(StringInfo out, const PolicyPathList *paths)
{
	write_int(out, paths->count);
	for (int i = 0; i < paths->count; i++)
	{
		const PolicyPath *path = &paths->items[i];

		write_string(out, path->source);
		write_int(out, path->lax);
		write_int(out, path->nsteps);
		for (int j = 0; j < path->nsteps; j++)
		{
			write_int(out, path->steps[j].kind);
			write_int(out, path->steps[j].index);
			if (path->steps[j].kind == POLICY_STEP_KEY)
				write_bytes(out, path->steps[j].key, path->steps[j].keylen);
		}
	}
}

static void
read_path(PolicyTree *tree, PolicyPath *path)
{
	memset(path, 0, sizeof(PolicyPath));
	path->source = read_string(tree);
	path->lax = read_int(tree) != 0;
	path->nsteps = read_count(tree);
	path->steps = zeroed_place_for(tree, sizeof(PolicyStep) * (path->nsteps + 1));
	for (int i = 0; i < path->nsteps; i++)
	{
		PolicyStep *step = &path->steps[i];

		step->kind = read_int(tree);
		step->index = read_int(tree);
		if (step->kind == POLICY_STEP_KEY)
			step->key = read_bytes(tree, &step->keylen);
	}
}

static void
read_paths(PolicyTree *tree, PolicyPathList *paths)
{
	paths->count = read_count(tree);
	paths->items = paths->count > 0 ? place_for(tree, sizeof(PolicyPath) * paths->count) : NULL;
	for (int i = 0; i < paths->count; i++)
		read_path(tree, &paths->items[i]);
}

static void
write_pattern(StringInfo out, const PolicyPattern *pattern)
{
	write_int(out, pattern->ntokens);
	for (int i = 0; i < pattern->ntokens; i++)
	{
		const PolicyPatternToken *token = &pattern->tokens[i];

		write_int(out, token->kind);
		if (token->kind == POLICY_TOKEN_LITERAL)
			write_bytes(out, token->bytes, token->len);
		else if (token->kind == POLICY_TOKEN_CLASS)
		{
			write_int(out, token->negated);
			write_int(out, token->nranges);
			appendBinaryStringInfo(out, (const char *) token->ranges,
								   sizeof(PolicyCharRange) * token->nranges);
		}
	}
}

static void
read_token(PolicyTree *tree, PolicyPatternToken *token)
{
	Size		size;

	token->kind = read_int(tree);
	if (token->kind == POLICY_TOKEN_LITERAL)
		token->bytes = read_bytes(tree, &token->len);
	else if (token->kind == POLICY_TOKEN_CLASS)
	{
		token->negated = read_int(tree) != 0;
		token->nranges = read_count(tree);
		size = sizeof(PolicyCharRange) * token->nranges;
		token->ranges = place_for(tree, size + 1);
		memcpy(token->ranges, take(tree, size), size);
	}
}

static PolicyPattern *
read_pattern(PolicyTree *tree)
{
	int			ntokens = read_count(tree);
	PolicyPattern *pattern = zeroed_place_for(tree, sizeof(PolicyPattern) + sizeof(PolicyPatternToken) * ntokens);

	pattern->ntokens = ntokens;
	pattern->tokens = (PolicyPatternToken *) (pattern + 1);
	for (int i = 0; i < ntokens; i++)
		read_token(tree, &pattern->tokens[i]);
	return pattern;
}

static void
write_list(StringInfo out, const PolicyPatternList *list)
{
	write_int(out, list->count);
	for (int i = 0; i < list->count; i++)
		write_pattern(out, list->items[i]);
}

static void
read_list(PolicyTree *tree, PolicyPatternList *list)
{
	list->count = read_count(tree);
	if (list->count == 0)
		return;
	list->items = place_for(tree, sizeof(PolicyPattern *) * list->count);
	for (int i = 0; i < list->count; i++)
		list->items[i] = read_pattern(tree);
}

static void
write_condition(StringInfo out, const PolicyCondition *condition)
{
	write_list(out, &condition->any);
	write_list(out, &condition->all);
	write_list(out, &condition->none);
}

static void
read_condition(PolicyTree *tree, PolicyCondition *condition)
{
	read_list(tree, &condition->any);
	read_list(tree, &condition->all);
	read_list(tree, &condition->none);
}

static bool
says_something(const PolicyCondition *condition)
{
	return condition->any.count + condition->all.count + condition->none.count > 0;
}

static void
write_match(StringInfo out, const PolicyMatch *match)
{
	for (int field = 0; field < POLICY_NFIELDS; field++)
	{
		if (!says_something(&match->fields[field]))
			continue;
		write_int(out, field);
		write_condition(out, &match->fields[field]);
	}
	write_int(out, -1);
	write_int(out, match->nlabels);
	for (int i = 0; i < match->nlabels; i++)
	{
		write_bytes(out, match->labels[i].name, match->labels[i].namelen);
		write_condition(out, &match->labels[i].condition);
	}
	write_int(out, match->has_secrets_present);
	write_int(out, match->secrets_present);
	write_string(out, match->when);
	write_int(out, match->lax);
	write_paths(out, &match->null_places);
}

static void
read_labels(PolicyTree *tree, PolicyMatch *match)
{
	match->nlabels = read_count(tree);
	if (match->nlabels == 0)
		return;
	match->labels = zeroed_place_for(tree, sizeof(PolicyLabelCondition) * match->nlabels);
	for (int i = 0; i < match->nlabels; i++)
	{
		match->labels[i].name = read_bytes(tree, &match->labels[i].namelen);
		read_condition(tree, &match->labels[i].condition);
	}
}

static void
read_match(PolicyTree *tree, PolicyMatch *match)
{
	int			field;

	while ((field = read_int(tree)) >= 0)
	{
		if (field >= POLICY_NFIELDS)
			report_early_end();
		read_condition(tree, &match->fields[field]);
	}
	read_labels(tree, match);
	match->has_secrets_present = read_int(tree) != 0;
	match->secrets_present = read_int(tree) != 0;
	match->when = unconstify(char *, read_string(tree));
	match->lax = read_int(tree) != 0;
	read_paths(tree, &match->null_places);
}

static void
write_velocity(StringInfo out, const PolicyVelocity *velocity)
{
	write_int(out, velocity != NULL);
	if (velocity == NULL)
		return;
	write_time(out, velocity->max_requests);
	write_int(out, velocity->window_seconds);
	write_int(out, velocity->nparts);
	for (int i = 0; i < velocity->nparts; i++)
	{
		write_int(out, velocity->parts[i].kind);
		if (velocity->parts[i].kind == POLICY_KEYPART_LABEL)
			write_bytes(out, velocity->parts[i].label, velocity->parts[i].labellen);
	}
}

static PolicyVelocity *
read_velocity(PolicyTree *tree)
{
	PolicyVelocity *velocity;

	if (read_int(tree) == 0)
		return NULL;
	velocity = zeroed_place_for(tree, sizeof(PolicyVelocity));
	velocity->max_requests = read_time(tree);
	velocity->window_seconds = read_int(tree);
	velocity->nparts = read_count(tree);
	velocity->parts = zeroed_place_for(tree, sizeof(PolicyKeyPart) * (velocity->nparts + 1));
	for (int i = 0; i < velocity->nparts; i++)
	{
		velocity->parts[i].kind = read_int(tree);
		if (velocity->parts[i].kind == POLICY_KEYPART_LABEL)
			velocity->parts[i].label = read_bytes(tree, &velocity->parts[i].labellen);
	}
	return velocity;
}

static void
write_approval(StringInfo out, const PolicyApproval *approval)
{
	write_int(out, approval != NULL);
	if (approval == NULL)
		return;
	write_int(out, approval->napprovers);
	for (int i = 0; i < approval->napprovers; i++)
		write_string(out, approval->approvers[i]);
	write_int(out, approval->min_approvals);
	write_int(out, approval->expires_in_sec);
	write_int(out, approval->allow_self);
	write_paths(out, &approval->immaterial);
}

static PolicyApproval *
read_approval(PolicyTree *tree)
{
	PolicyApproval *approval;

	if (read_int(tree) == 0)
		return NULL;
	approval = zeroed_place_for(tree, sizeof(PolicyApproval));
	approval->napprovers = read_count(tree);
	approval->approvers = place_for(tree, sizeof(char *) * (approval->napprovers + 1));
	for (int i = 0; i < approval->napprovers; i++)
		approval->approvers[i] = read_string(tree);
	approval->min_approvals = read_int(tree);
	approval->expires_in_sec = read_int(tree);
	approval->allow_self = read_int(tree) != 0;
	read_paths(tree, &approval->immaterial);
	return approval;
}

static void
write_rule(StringInfo out, const PolicyRule *rule)
{
	write_string(out, rule->id);
	write_int(out, rule->monitor);
	write_time(out, rule->not_before);
	write_time(out, rule->expires_at);
	write_match(out, &rule->match);
	write_int(out, rule->decision);
	write_string(out, rule->reason);
	write_optional_node(out, rule->constraints);
	write_velocity(out, rule->velocity);
	write_int(out, rule->retry_after_sec);
	write_approval(out, rule->approval);
	write_int(out, rule->nexceptions);
	for (int i = 0; i < rule->nexceptions; i++)
	{
		write_string(out, rule->exceptions[i].id);
		write_time(out, rule->exceptions[i].expires_at);
		write_match(out, &rule->exceptions[i].match);
	}
}

void
policy_tree_next_rule(PolicyTree *tree, PolicyRule *rule)
{
	tree->used = 0;
	memset(rule, 0, sizeof(PolicyRule));
	rule->enabled = true;
	rule->id = read_string(tree);
	rule->monitor = read_int(tree) != 0;
	rule->not_before = read_time(tree);
	rule->expires_at = read_time(tree);
	read_match(tree, &rule->match);
	rule->decision = read_int(tree);
	rule->reason = read_string(tree);
	skip_optional_mapping(tree, &tree->constraints);
	rule->velocity = read_velocity(tree);
	rule->retry_after_sec = read_int(tree);
	rule->approval = read_approval(tree);
	rule->nexceptions = read_count(tree);
	if (rule->nexceptions > 0)
		rule->exceptions = zeroed_place_for(tree, sizeof(PolicyException) * rule->nexceptions);
	for (int i = 0; i < rule->nexceptions; i++)
	{
		rule->exceptions[i].id = read_string(tree);
		rule->exceptions[i].expires_at = read_time(tree);
		read_match(tree, &rule->exceptions[i].match);
	}
}

static int
count_enabled(const Policy *policy)
{
	int			count = 0;

	for (int i = 0; i < policy->nrules; i++)
		count += policy->rules[i].enabled;
	return count;
}

bool
policy_tree_write(const Policy *policy, int limit, StringInfo out)
{
	int			start = out->len;

	write_int(out, policy->first_match);
	write_int(out, policy->default_decision);
	write_string(out, policy->default_reason);
	write_optional_node(out, policy->default_constraints);
	write_paths(out, &policy->masks);
	write_int(out, count_enabled(policy));
	for (int i = 0; i < policy->nrules && out->len - start <= limit; i++)
	{
		if (policy->rules[i].enabled)
			write_rule(out, &policy->rules[i]);
	}
	if (out->len - start <= limit)
		return true;
	out->len = start;
	return false;
}

void
policy_tree_open(PolicyTree *tree, const char *bytes, int len, Policy *policy)
{
	tree->next = bytes;
	tree->end = bytes + len;
	tree->used = sizeof(tree->room);
	memset(policy, 0, sizeof(Policy));
	policy->first_match = read_int(tree) != 0;
	policy->default_decision = read_int(tree);
	policy->default_reason = read_string(tree);
	policy->default_constraints = read_optional_node(tree);
	read_paths(tree, &policy->masks);
	policy->nrules = read_count(tree);
}

PolicyNode *
policy_tree_node(const char *bytes, int len)
{
	PolicyTree	tree;

	tree.next = bytes;
	tree.end = bytes + len;
	tree.used = sizeof(tree.room);
	return read_node(&tree);
}
