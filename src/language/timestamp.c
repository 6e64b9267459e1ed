/*
 * timestamp.c
 *	  RFC 3339 timestamps.
 */
#include "postgres.h"

#include "language/policy.h"

/* Reads exactly count digits. */
static bool
read_digits(const char **at, const char *end, int count, int *value)
{
	*value = 0;
	if (end - *at < count)
		return false;
	for (int i = 0; i < count; i++, (*at)++)
	{
		if (**at < '0' || **at > '9')
			return false;
		*value = *value * 10 + (**at - '0');
	}
	return true;
}

static bool
read_char(const char **at, const char *end, const char *accepted)
{
	if (*at == end || **at == '\0' || strchr(accepted, **at) == NULL)
		return false;
	(*at)++;
	return true;
}

static int
days_in_month(int year, int month)
{
	static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};

	if (month == 2 && year % 4 == 0 && (year % 100 != 0 || year % 400 == 0))
		return 29;
	return days[month - 1];
}

/* Days from 2000-01-01 in the proleptic Gregorian calendar. */
static int64
days_from_2000(int year, int month, int day)
{
	int64		y = month <= 2 ? year - 1 : year;
	int64		era = y / 400;
	int64		year_of_era = y - era * 400;
	int64		day_of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
	int64		day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;

	return era * 146097 + day_of_era - 730425;
}

static bool
read_date(const char **at, const char *end, int64 *days)
{
	int			year;
	int			month;
	int			day;

	if (!read_digits(at, end, 4, &year) || !read_char(at, end, "-") ||
		!read_digits(at, end, 2, &month) || !read_char(at, end, "-") ||
		!read_digits(at, end, 2, &day))
		return false;
	if (year < 1 || month < 1 || month > 12 || day < 1 || day > days_in_month(year, month))
		return false;
	*days = days_from_2000(year, month, day);
	return true;
}

/* A second of 60 is the next minute's first; fractions past 1 us are cut. */
static bool
read_time(const char **at, const char *end, int64 *usecs)
{
	int			hour;
	int			minute;
	int			second;
	int64		scale = USECS_PER_SEC;

	if (!read_digits(at, end, 2, &hour) || !read_char(at, end, ":") ||
		!read_digits(at, end, 2, &minute) || !read_char(at, end, ":") ||
		!read_digits(at, end, 2, &second))
		return false;
	if (hour > 23 || minute > 59 || second > 60)
		return false;
	*usecs = ((hour * INT64CONST(60) + minute) * 60 + second) * USECS_PER_SEC;
	if (*at == end || **at != '.')
		return true;
	(*at)++;
	if (*at == end || **at < '0' || **at > '9')
		return false;
	for (; *at < end && **at >= '0' && **at <= '9'; (*at)++)
	{
		scale /= 10;
		*usecs += (**at - '0') * scale;
	}
	return true;
}

static bool
read_zone(const char **at, const char *end, int64 *usecs)
{
	bool		east = *at < end && **at == '+';
	int			hour;
	int			minute;

	*usecs = 0;
	if (read_char(at, end, "Zz"))
		return true;
	if (!read_char(at, end, "+-") || !read_digits(at, end, 2, &hour) ||
		!read_char(at, end, ":") || !read_digits(at, end, 2, &minute))
		return false;
	if (hour > 23 || minute > 59)
		return false;
	*usecs = (hour * INT64CONST(60) + minute) * 60 * USECS_PER_SEC;
	if (!east)
		*usecs = -*usecs;
	return true;
}

bool
policy_parse_timestamp(const char *text, int len, TimestampTz *result)
{
	const char *at = text;
	const char *end = text + len;
	int64		days;
	int64		time;
	int64		zone;

	if (!read_date(&at, end, &days) || !read_char(&at, end, "Tt") ||
		!read_time(&at, end, &time) || !read_zone(&at, end, &zone) || at != end)
		return false;
	*result = days * USECS_PER_DAY + time - zone;
	return true;
}
