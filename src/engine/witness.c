/*
 * witness.c
 *	  Jobs inside of some matches and outside of others.  See witness.h.
 *
 * What the matches ask is gathered field by field (Wanted), and a value, or the
 * elements of a set, looked for where a field's part has changed.  Each match that
 * the job must be outside of is broken at one condition after the other, until one
 * way is found to break them all.  What is gathered are lists that share their
 * ends, so that taking a step back is forgetting a pointer.
 */
#include "postgres.h"

#include "engine/example.h"
#include "engine/shape.h"

/* What is asked of a field or a label. */
typedef struct Wanted
{
	const GlobList *some;		/* a value, or for each an element, matches */
	const GlobList *none;
	bool		present;
	bool		absent;
} Wanted;

typedef struct WantedLabel
{
	const char *name;
	int			len;
	int			mcp;			/* the field that it names, or -1 */
	bool		secrets;		/* it is secrets_present */
	Wanted		wanted;
} WantedLabel;

typedef enum WantedSecrets
{
	SECRETS_ANY,
	SECRETS_ABSENT,
	SECRETS_PRESENT
} WantedSecrets;

typedef struct JobSearch
{
	Wanted		fields[POLICY_NFIELDS];
	WantedLabel *labels;
	int			nlabels;
	WantedSecrets secrets;
	GlobList	secrets_tags;	/* what else makes secrets_present true */
	GlobList	secrets_labels;
	const PolicyShape *const *outside;
	int			noutside;
	PolicyWork *work;
	PolicyExample **example;
	bool		gave_up;		/* somewhere on the way */
} JobSearch;

/* More matches to be outside of than this are not looked at. */
#define MAX_OUTSIDE 64

/* Nor are matches with more labels, all together: a job has 256 at most. */
#define MAX_LABELS 1024

/* Nor are sets of which more patterns ask for an element each. */
#define MAX_ELEMENTS 256

/* What asking what is known of two conditions counts as. */
#define STEPS_OF_RECALL 4

/* The steps that one search may take. */
#define MAX_STEPS 4000000

/* ---- what a job can have ---- */

/* Whether a valid job has it whatever is asked; a tenant left out is one, too. */
static bool
is_always_there(int field)
{
	return field == POLICY_FIELD_TENANT || field == POLICY_FIELD_TOPIC;
}

static bool
is_mcp(int field)
{
	return field >= POLICY_FIELD_MCP_SERVER && field <= POLICY_FIELD_MCP_ACTION;
}

/* ---- gathering ---- */

static const GlobList *
add_list(const GlobList *next, const SearchGlob *globs, int count)
{
	GlobList   *list = palloc(sizeof(GlobList));

	list->globs = globs;
	list->count = count;
	list->next = next;
	return list;
}

static void
want_lists(Wanted *wanted, const ShapeLists *lists)
{
	if (lists->nany > 0)
		wanted->some = add_list(wanted->some, lists->any, lists->nany);
	for (int i = 0; i < lists->nall; i++)
		wanted->some = add_list(wanted->some, &lists->all[i], 1);
	if (lists->nnone > 0)
		wanted->none = add_list(wanted->none, lists->none, lists->nnone);
	wanted->present = wanted->present || lists->nany > 0 || lists->nall > 0;
}

static WantedLabel *
want_label(JobSearch *search, const PolicyLabelCondition *label)
{
	WantedLabel *wanted;

	for (int i = 0; i < search->nlabels; i++)
	{
		wanted = &search->labels[i];
		if (wanted->len == label->namelen && memcmp(wanted->name, label->name, wanted->len) == 0)
			return wanted;
	}
	wanted = &search->labels[search->nlabels++];
	memset(wanted, 0, sizeof(WantedLabel));
	wanted->name = label->name;
	wanted->len = label->namelen;
	wanted->mcp = policy_shape_mcp_field(label->name, label->namelen);
	wanted->secrets = label->namelen == (int) strlen("secrets_present") &&
		memcmp(label->name, "secrets_present", label->namelen) == 0;
	return wanted;
}

/* Asks for secrets_present or for its absence; false for both. */
static bool
want_secrets(JobSearch *search, bool present)
{
	WantedSecrets wanted = present ? SECRETS_PRESENT : SECRETS_ABSENT;

	if (search->secrets != SECRETS_ANY && search->secrets != wanted)
		return false;
	search->secrets = wanted;
	return true;
}

/* Asks for all that a match asks; false where that shows by itself to be impossible. */
static bool
want_shape(JobSearch *search, const PolicyShape *shape)
{
	for (int field = 0; field < POLICY_NFIELDS; field++)
	{
		if (shape->fields[field] != NULL)
			want_lists(&search->fields[field], shape->fields[field]);
	}
	for (int i = 0; i < shape->match->nlabels; i++)
	{
		Wanted	   *wanted = &want_label(search, shape->labels[i].label)->wanted;

		want_lists(wanted, shape->labels[i].lists);
		wanted->present = wanted->present || shape->labels[i].present;
	}
	return !shape->match->has_secrets_present ||
		want_secrets(search, shape->match->secrets_present);
}

/* ---- values ---- */

/* The lists of a before those of b. */
static const GlobList *
join_lists(const GlobList *a, const GlobList *b)
{
	for (; a != NULL; a = a->next)
		b = add_list(b, a->globs, a->count);
	return b;
}

static PolicyFinding
note_finding(JobSearch *search, PolicyFinding finding)
{
	search->gave_up = search->gave_up || finding == POLICY_GAVE_UP;
	return finding;
}

/* A value, where one must be there; *value is NULL where not. */
static bool
find_wanted(JobSearch *search, const Wanted *wanted, bool always, const GlobList *also_none,
			ExampleString *value)
{
	const GlobList *none = also_none == NULL ? wanted->none :
	join_lists(also_none, wanted->none);

	value->data = NULL;
	if (wanted->absent)
		return !wanted->present;
	if (!wanted->present && !always)
		return true;
	return note_finding(search, glob_find(wanted->some, none, search->work,
										  &value->data, &value->len)) == POLICY_FOUND;
}

/* What is asked of an MCP field and of the labels that name it, where they are there. */
static Wanted
joined_mcp(const JobSearch *search, int field)
{
	Wanted		joined = search->fields[field];

	for (int i = 0; i < search->nlabels; i++)
	{
		const WantedLabel *label = &search->labels[i];

		if (label->mcp != field || !label->wanted.present)
			continue;
		joined.present = true;
		joined.absent = joined.absent || label->wanted.absent;
		joined.some = join_lists(label->wanted.some, joined.some);
		joined.none = join_lists(label->wanted.none, joined.none);
	}
	return joined;
}

/* Whether an item of a set is there before the last, too. */
static bool
has_item(const ExampleSet *set, const ExampleString *item)
{
	for (int i = 0; i < set->count - 1; i++)
	{
		if (set->items[i].len == item->len &&
			memcmp(set->items[i].data, item->data, item->len) == 0)
			return true;
	}
	return false;
}

/* The elements of a set, one for each list. */
static bool
find_elements(JobSearch *search, int field, ExampleSet *set)
{
	const Wanted *wanted = &search->fields[field];
	const GlobList *none = wanted->none;
	int			count = 0;

	if (field == POLICY_FIELD_RISK_TAGS && search->secrets == SECRETS_ABSENT)
		none = add_list(none, search->secrets_tags.globs, search->secrets_tags.count);
	for (const GlobList *list = wanted->some; list != NULL; list = list->next)
		count++;
	if (count > MAX_ELEMENTS)
		return note_finding(search, POLICY_GAVE_UP) == POLICY_FOUND;
	set->items = palloc(sizeof(ExampleString) * Max(count, 1));
	set->count = 0;
	for (const GlobList *list = wanted->some; list != NULL; list = list->next)
	{
		GlobList	alone = {list->globs, list->count, NULL};
		ExampleString *item = &set->items[set->count++];

		if (note_finding(search, glob_find(&alone, none, search->work, &item->data,
										   &item->len)) != POLICY_FOUND)
			return false;
		if (has_item(set, item))
			set->count--;
	}
	return true;
}

/* Whether a field can be what is asked of it, and what it is then. */
static bool
find_field(JobSearch *search, int field, PolicyExample *example)
{
	ExampleString *value;
	Wanted		joined;

	if (field >= POLICY_FIRST_SET)
		return find_elements(search, field, &example->sets[field - POLICY_FIRST_SET]);
	value = &example->fields[field];
	if (field == POLICY_FIELD_TOPIC)
		return find_wanted(search, &search->fields[field], true, NULL, value);
	if (field == POLICY_FIELD_TENANT)
		return find_wanted(search, &search->fields[field],
						   search->fields[field].some != NULL ||
						   search->fields[field].none != NULL, NULL, value);
	if (!is_mcp(field))
		return find_wanted(search, &search->fields[field], false, NULL, value);
	joined = joined_mcp(search, field);
	return find_wanted(search, &joined, false, NULL, value);
}

/* The same of a label; one that names an MCP field has that field's value. */
static bool
find_label(JobSearch *search, const WantedLabel *label, ExampleString *value,
		   PolicyExample *example)
{
	const GlobList *none = label->secrets && search->secrets == SECRETS_ABSENT ?
	&search->secrets_labels : NULL;

	if (label->mcp < 0 || !label->wanted.present)
		return find_wanted(search, &label->wanted, false, none, value);
	if (!find_field(search, label->mcp, example))
		return false;
	*value = example->fields[label->mcp];
	return true;
}

/* Whether a job can have secrets_present as asked, its other places included. */
static bool
find_secrets(JobSearch *search, PolicyExample *example)
{
	ExampleString value;

	if (search->secrets != SECRETS_ABSENT)
		return true;
	for (int i = 0; i < search->nlabels; i++)
	{
		if (search->labels[i].secrets && !find_label(search, &search->labels[i], &value, example))
			return false;
	}
	return find_field(search, POLICY_FIELD_RISK_TAGS, example);
}

/* The whole job. */
static bool
find_all(JobSearch *search, PolicyExample *example)
{
	memset(example, 0, sizeof(PolicyExample));
	example->secrets_present = search->secrets == SECRETS_PRESENT;
	for (int field = 0; field < POLICY_NFIELDS; field++)
	{
		if (!find_field(search, field, example))
			return false;
	}
	example->labels = palloc(sizeof(ExampleLabel) * Max(search->nlabels, 1));
	for (int i = 0; i < search->nlabels; i++)
	{
		ExampleLabel *label = &example->labels[example->nlabels];

		label->name.data = search->labels[i].name;
		label->name.len = search->labels[i].len;
		if (!find_label(search, &search->labels[i], &label->value, example))
			return false;
		if (label->value.data != NULL)
			example->nlabels++;
	}
	return true;
}

/* ---- breaking matches ---- */

static bool break_rest(JobSearch *search, int next);

/* What a way to break a condition changes. */
typedef struct Breach
{
	int			field;			/* -1: a label */
	int			label;
	Wanted	   *wanted;
	Wanted		before;
} Breach;

static void
begin_breach(JobSearch *search, int field, int label, Breach *breach)
{
	breach->field = field;
	breach->label = label;
	breach->wanted = field >= 0 ? &search->fields[field] : &search->labels[label].wanted;
	breach->before = *breach->wanted;
}

/* Goes on with the other matches where this way is possible; takes it back. */
static bool
try_breach(JobSearch *search, Breach *breach, int next)
{
	PolicyExample scratch;
	ExampleString value;
	bool		found;

	memset(&scratch, 0, sizeof(scratch));
	found = breach->field >= 0 ? find_field(search, breach->field, &scratch) :
		find_label(search, &search->labels[breach->label], &value, &scratch);
	found = found && break_rest(search, next);
	*breach->wanted = breach->before;
	return found;
}

static bool
break_by_absence(JobSearch *search, Breach *breach, int next)
{
	if (breach->field >= 0 && is_always_there(breach->field))
		return false;
	breach->wanted->absent = true;
	return try_breach(search, breach, next);
}

/* No value, or element, may match any of these. */
static bool
break_by_none(JobSearch *search, Breach *breach, const SearchGlob *globs, int count, int next)
{
	breach->wanted->none = add_list(breach->wanted->none, globs, count);
	breach->wanted->present = breach->wanted->present || breach->field < POLICY_FIRST_SET;
	return try_breach(search, breach, next);
}

static bool
break_by_value(JobSearch *search, Breach *breach, const SearchGlob *glob, int next)
{
	breach->wanted->some = add_list(breach->wanted->some, glob, 1);
	breach->wanted->present = true;
	return try_breach(search, breach, next);
}

/* Tries every way to break the lists of a field or label. */
static bool
break_lists(JobSearch *search, const ShapeLists *lists, int field, int label, int next)
{
	Breach		breach;
	bool		is_set = field >= POLICY_FIRST_SET;

	begin_breach(search, field, label, &breach);
	if (!is_set && lists->nany + lists->nall > 0 && break_by_absence(search, &breach, next))
		return true;
	if (lists->nany > 0 && break_by_none(search, &breach, lists->any, lists->nany, next))
		return true;
	for (int i = 0; i < lists->nall; i++)
	{
		if (break_by_none(search, &breach, &lists->all[i], 1, next))
			return true;
	}
	for (int i = 0; i < lists->nnone; i++)
	{
		if (break_by_value(search, &breach, &lists->none[i], next))
			return true;
	}
	return false;
}

static bool
break_label(JobSearch *search, const ShapeLabel *label, int next)
{
	int			nlabels = search->nlabels;
	int			index = want_label(search, label->label) - search->labels;
	Breach		breach;
	bool		found;

	if (label->present)
	{
		begin_breach(search, -1, index, &breach);
		found = break_by_absence(search, &breach, next);
	}
	else
		found = break_lists(search, label->lists, -1, index, next);
	search->nlabels = nlabels;
	return found;
}

static bool
break_secrets(JobSearch *search, bool present, int next)
{
	WantedSecrets before = search->secrets;
	PolicyExample scratch;
	bool		found;

	memset(&scratch, 0, sizeof(scratch));
	found = want_secrets(search, !present) && find_secrets(search, &scratch) &&
		break_rest(search, next);
	search->secrets = before;
	return found;
}

/* Breaks the matches from next on; true where a job is found. */
static bool
break_rest(JobSearch *search, int next)
{
	const PolicyShape *shape;

	if (search->work->left < 0)
	{
		search->gave_up = true;
		return false;
	}
	if (next == search->noutside)
	{
		if (search->example == NULL)
			return true;
		*search->example = palloc(sizeof(PolicyExample));
		return find_all(search, *search->example);
	}
	shape = search->outside[next++];
	search->work->left -= POLICY_NFIELDS;
	for (int field = 0; field < POLICY_NFIELDS; field++)
	{
		if (shape->fields[field] != NULL &&
			break_lists(search, shape->fields[field], field, -1, next))
			return true;
	}
	for (int i = 0; i < shape->match->nlabels; i++)
	{
		if (break_label(search, &shape->labels[i], next))
			return true;
	}
	return shape->match->has_secrets_present &&
		break_secrets(search, shape->match->secrets_present, next);
}

/* ---- the searches ---- */

static void
prepare_literals(const char *const *words, int count, GlobList *list)
{
	static const PolicyMark nowhere = {0, 0};
	SearchGlob *globs = palloc(sizeof(SearchGlob) * count);
	PolicyDiagnostics diags;

	policy_diagnostics_init(&diags);
	for (int i = 0; i < count; i++)
		glob_search_prepare(policy_pattern_parse(words[i], strlen(words[i]), nowhere, &diags),
							&globs[i]);
	list->globs = globs;
	list->count = count;
	list->next = NULL;
}

/* Makes room for what the shapes can ask; false where that is too much. */
static bool
begin_search(JobSearch *search, const PolicyShape *const *inside, int ninside,
			 const PolicyShape *const *outside, int noutside)
{
	static const char *const tags[] = {"secrets"};
	static const char *const labels[] = {"true", "1", "yes"};
	int			nlabels = 0;
	bool		secrets = false;

	for (int i = 0; i < ninside; i++)
	{
		nlabels += inside[i]->match->nlabels;
		secrets = secrets || inside[i]->match->has_secrets_present;
	}
	for (int i = 0; i < noutside; i++)
	{
		nlabels += outside[i]->match->nlabels;
		secrets = secrets || outside[i]->match->has_secrets_present;
	}
	if (noutside > MAX_OUTSIDE || nlabels > MAX_LABELS)
		return false;
	search->labels = palloc(sizeof(WantedLabel) * Max(nlabels, 1));
	search->outside = outside;
	search->noutside = noutside;
	search->work->left -= (int64) nlabels * nlabels;
	if (!secrets)
		return true;
	prepare_literals(tags, lengthof(tags), &search->secrets_tags);
	prepare_literals(labels, lengthof(labels), &search->secrets_labels);
	return true;
}

static bool
search_job(JobSearch *search, const PolicyShape *const *inside, int ninside)
{
	PolicyExample scratch;

	for (int i = 0; i < ninside; i++)
	{
		if (!want_shape(search, inside[i]))
			return false;
	}
	if ((search->example != NULL || search->noutside == 0 || ninside > 1) &&
		!find_all(search, &scratch))
		return false;
	return break_rest(search, 0);
}

/* ---- one match and another ---- */

/*
 * Whether a field can be what one condition asks of it (NULL: nothing) and not what
 * another does.
 */
static PolicyFinding
find_breach(const ShapeLists *inside, const ShapeLists *outside, int field, PolicyWork *work)
{
	PolicyWork	mine = {Min(work->left, MAX_STEPS)};
	JobSearch	search;
	int64		begun = mine.left;
	bool		found;

	memset(&search, 0, sizeof(search));
	search.work = &mine;
	if (inside != NULL)
	{
		want_lists(&search.fields[field], inside);
		/* A label of which nothing but its presence is asked. */
		if (inside->nany + inside->nall + inside->nnone == 0)
			search.fields[field].present = true;
	}
	found = break_lists(&search, outside, field, -1, 0);
	work->left -= begun - mine.left;
	return found ? POLICY_FOUND : search.gave_up ? POLICY_GAVE_UP : POLICY_IMPOSSIBLE;
}

static PolicyFinding
recall_breach(PolicyShapes *shapes, const ShapeLists *inside, const ShapeLists *outside,
			  int field, PolicyWork *work)
{
	PolicyFinding finding;
	int			known;

	if (inside == outside)
		return POLICY_IMPOSSIBLE;
	work->left -= STEPS_OF_RECALL;
	known = policy_shapes_recall(shapes, inside, outside, field);
	if (known >= 0)
		return (PolicyFinding) known;
	finding = find_breach(inside, outside, field, work);
	policy_shapes_keep(shapes, inside, outside, field, finding);
	return finding;
}

static PolicyFinding
find_label_breach(const PolicyShape *inside, const ShapeLabel *outside, PolicyWork *work)
{
	const ShapeLists *own = NULL;

	work->left -= inside->match->nlabels / 4 + 1;
	for (int i = 0; i < inside->match->nlabels && own == NULL; i++)
	{
		if (inside->labels[i].name == outside->name)
			own = inside->labels[i].lists;
	}
	if (outside->present)
		return own != NULL && (own->nany + own->nall > 0 || own->nnone == 0) ?
			POLICY_IMPOSSIBLE : POLICY_FOUND;

	/* By itself a label is like any field that need not be there. */
	return recall_breach(inside->shapes, own, outside->lists, POLICY_FIELD_CAPABILITY, work);
}

/*
 * A job inside of one match and outside of another, neither of them entangled: one
 * of the other's conditions is breached, and nothing else matters.
 */
static PolicyFinding
find_between(const PolicyShape *inside, const PolicyShape *outside, PolicyWork *work)
{
	PolicyFinding result = POLICY_IMPOSSIBLE;

	for (int i = 0; i < POLICY_NFIELDS + outside->match->nlabels; i++)
	{
		PolicyFinding finding = POLICY_IMPOSSIBLE;

		if (work->left < 0)
			return POLICY_GAVE_UP;
		if (i >= POLICY_NFIELDS)
			finding = find_label_breach(inside, &outside->labels[i - POLICY_NFIELDS], work);
		else if (outside->fields[i] != NULL)
			finding = recall_breach(inside->shapes, inside->fields[i], outside->fields[i], i, work);
		if (finding == POLICY_FOUND)
			return finding;
		if (finding == POLICY_GAVE_UP)
			result = finding;
	}
	return result;
}

PolicyFinding
policy_find_job(const PolicyShape *const *inside, int ninside,
				const PolicyShape *const *outside, int noutside,
				PolicyWork *work, PolicyExample **example)
{
	PolicyWork	mine = {Min(work->left, MAX_STEPS)};
	JobSearch	search = {.work = &mine, .example = example};
	int64		begun = mine.left;
	bool		found;

	if (work->left < 0)
		return POLICY_GAVE_UP;
	if (ninside == 1 && noutside == 1 && example == NULL &&
		inside[0]->shapes == outside[0]->shapes &&
		!inside[0]->entangled && !outside[0]->entangled)
		return find_between(inside[0], outside[0], work);
	if (!begin_search(&search, inside, ninside, outside, noutside))
		return POLICY_GAVE_UP;
	found = search_job(&search, inside, ninside);
	work->left -= begun - mine.left;
	if (found)
		return POLICY_FOUND;
	return search.gave_up ? POLICY_GAVE_UP : POLICY_IMPOSSIBLE;
}

PolicyMark
policy_condition_mark(const PolicyCondition *condition, PolicyMark otherwise)
{
	const PolicyPatternList *lists[] = {&condition->any, &condition->all, &condition->none};

	for (int i = 0; i < (int) lengthof(lists); i++)
	{
		if (lists[i]->count > 0)
			return lists[i]->items[0]->mark;
	}
	return otherwise;
}

/* Reports the patterns of a list that no value matches. */
static void
report_dead(const SearchGlob *globs, int count, PolicyWork *work,
			PolicyPatternReport report, void *arg)
{
	for (int i = 0; i < count; i++)
	{
		GlobList	alone = {&globs[i], 1, NULL};
		const char *value;
		int			len;

		if (glob_find(&alone, NULL, work, &value, &len) == POLICY_IMPOSSIBLE)
			report(globs[i].pattern, arg);
	}
}

static void
report_dead_of(const ShapeLists *lists, PolicyWork *work, PolicyPatternReport report, void *arg)
{
	report_dead(lists->any, lists->nany, work, report, arg);
	report_dead(lists->none, lists->nnone, work, report, arg);
}

void
policy_shape_dead_patterns(const PolicyShape *shape, PolicyWork *work,
						   PolicyPatternReport report, void *arg)
{
	for (int field = 0; field < POLICY_NFIELDS; field++)
	{
		if (shape->fields[field] != NULL)
			report_dead_of(shape->fields[field], work, report, arg);
	}
	for (int i = 0; i < shape->match->nlabels; i++)
		report_dead_of(shape->labels[i].lists, work, report, arg);
}

const char *
policy_shape_fault(const PolicyShape *shape, PolicyWork *work, PolicyMark *mark)
{
	JobSearch	search = {.work = work};
	PolicyExample scratch;
	ExampleString value;

	memset(&scratch, 0, sizeof(scratch));
	if (!begin_search(&search, &shape, 1, NULL, 0))
		return NULL;
	want_shape(&search, shape);
	for (int field = 0; field < POLICY_NFIELDS; field++)
	{
		if (shape->fields[field] == NULL || find_field(&search, field, &scratch))
			continue;
		*mark = policy_condition_mark(&shape->match->fields[field], *mark);
		return search.gave_up ? NULL : policy_match_keys[field];
	}
	for (int i = 0; i < search.nlabels; i++)
	{
		const PolicyLabelCondition *label = shape->labels[i].label;

		if (find_label(&search, &search.labels[i], &value, &scratch))
			continue;
		*mark = label->mark;
		return search.gave_up ? NULL :
			psprintf("labels.%s", policy_excerpt(label->source, label->sourcelen));
	}
	return NULL;
}
