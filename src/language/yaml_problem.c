/*
 * yaml_problem.c
 *	  libyaml's own errors, as diagnostics with a next step.
 */
#include "postgres.h"

#include "language/yaml_problem.h"

#define DEFAULT_HINT "Check the quotes, brackets and indentation here and on the lines before."

/* By how libyaml's text of a problem begins; the first that fits. */
static const struct
{
	const char *problem;
	const char *hint;
}			problem_hints[] =
{
	{"found character that cannot start any token",
	"Indent with spaces, not tabs, and quote a value that begins with @, ` or %."},
	{"found a tab character",
	"Indent with spaces, not tabs."},
	{"mapping values are not allowed",
	"Quote a value that contains \": \", and check that keys of one mapping are indented alike."},
	{"block sequence entries are not allowed",
	"Put \"- \" on a line of its own, below the key."},
	{"could not find expected ':'",
	"Every key needs a colon and a space after it; quote a text of several lines."},
	{"did not find expected key",
	"Indent the keys of one mapping alike, and quote a value that goes on after its closing quote."},
	{"did not find expected '-' indicator",
	"Indent the entries of one list alike."},
	{"did not find expected ',' or '}'",
	"Close the mapping with }, and put commas between its keys."},
	{"did not find expected ',' or ']'",
	"Close the list with ], and put commas between its entries."},
	{"did not find expected alphabetic or numeric character",
	"Quote a value that begins with * or &."},
	{"found unexpected end of stream", "Close the quote."},
	{"found unexpected document indicator", "Close the quote."},
	{"found invalid Unicode character escape code",
	"Pairs of surrogates are for valid JSON alone: write \\U and eight digits, or the character itself."},
	{"found unknown escape character",
	"Write \\\\ for a backslash between double quotes, or use single quotes."},
	{"found undefined tag handle", "Remove the tag: values need none."},
	{"found duplicate %YAML directive", "Remove the directive."},
	{"found incompatible YAML document", "Remove the directive."},
	{"found unknown directive name", "Remove the directive."}
};

static const char *
problem_hint(const char *problem)
{
	for (int i = 0; i < (int) lengthof(problem_hints); i++)
	{
		const char *prefix = problem_hints[i].problem;

		if (strncmp(problem, prefix, strlen(prefix)) == 0)
			return problem_hints[i].hint;
	}
	return DEFAULT_HINT;
}

/* libyaml's reader: what stands at a byte offset is no text. */
static void
encoding_problem(const yaml_parser_t *parser, const PolicySource *source,
				 PolicyDiagnostics *diags)
{
	PolicyCursor cursor;
	PolicyMark	mark;
	unsigned int value = (unsigned int) parser->problem_value;

	policy_cursor_init(&cursor, source->text, source->len);
	while (!policy_cursor_at_end(&cursor) &&
		   (size_t) cursor.offset < parser->problem_offset)
		policy_cursor_step(&cursor);
	mark = policy_source_mark(source, cursor.line, cursor.column);

	if (strstr(parser->problem, "control characters") != NULL)
		policy_diagnose(diags, mark, POLICY_SEVERITY_ERROR, "encoding",
						"Remove it, or write it as an escape (\\xNN, \\uNNNN) between double quotes.",
						"character U+%04X is not allowed in a document",
						value);
	else
		policy_diagnose(diags, mark, POLICY_SEVERITY_ERROR, "encoding",
						"Save the document as UTF-8.",
						"document is not valid UTF-8: %s",
						parser->problem);
}

/* What is left of the line that index is on, to show beside a message. */
static char *
rest_of_line(const PolicySource *source, size_t index)
{
	PolicyCursor cursor;
	int			start;
	int			line;

	policy_cursor_init(&cursor, source->text, source->len);
	policy_cursor_seek(&cursor, index);
	start = cursor.offset;
	line = cursor.line;
	while (!policy_cursor_at_end(&cursor) && cursor.line == line &&
		   policy_cursor_peek(&cursor) != '\n' &&
		   policy_cursor_peek(&cursor) != '\r')
		policy_cursor_step(&cursor);
	if (cursor.offset == start)
		return NULL;
	return policy_excerpt(source->text + start, cursor.offset - start);
}

static void
syntax_problem(const yaml_parser_t *parser, const PolicySource *source,
			   PolicyDiagnostics *diags)
{
	const yaml_mark_t *at = &parser->problem_mark;
	PolicyMark	mark = policy_source_mark(source, at->line, at->column);
	char	   *rest = rest_of_line(source, at->index);
	char	   *context = "";

	if (parser->context && parser->context_mark.line != at->line)
		context = psprintf(" (%s that begins on line %d)", parser->context,
						   (int) parser->context_mark.line + 1);
	policy_diagnose(diags, mark, POLICY_SEVERITY_ERROR, "syntax",
					problem_hint(parser->problem),
					"%s%s%s%s%s", parser->problem,
					rest ? " near \"" : " at the end of a line",
					rest ? rest : "", rest ? "\"" : "", context);
}

void
policy_yaml_problem(const yaml_parser_t *parser, const PolicySource *source,
					PolicyDiagnostics *diags)
{
	if (parser->error == YAML_MEMORY_ERROR)
		ereport(ERROR,
				(errcode(ERRCODE_OUT_OF_MEMORY),
				 errmsg("out of memory"),
				 errdetail("libyaml could not allocate memory for a policy document.")));
	if (parser->error == YAML_READER_ERROR)
		encoding_problem(parser, source, diags);
	else
		syntax_problem(parser, source, diags);
}
