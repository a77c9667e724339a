#include "core/secret.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* All of it, into a buffer that is wiped: a growing one would leave copies behind. */
static int read_file(const char *path, char *text, size_t size, size_t *ret_len, struct err *err)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	size_t len = 0;
	ssize_t n = 1;

	while (fd >= 0 && n != 0 && len < size) {
		n = read(fd, text + len, size - len);
		if (n < 0 && errno != EINTR)
			break;
		len += n > 0 ? (size_t)n : 0;
	}
	if (fd < 0 || n < 0) {
		err_set(err, ST_IO, "cannot read '%s': %s", path, strerror(errno));
		if (fd >= 0)
			close(fd);
		return ST_IO;
	}
	close(fd);
	if (len == size)
		return err_set(err, ST_LIMIT, "'%s' has more than %d bytes", path, SECRET_MAX);
	*ret_len = len;
	return 0;
}

static int from_file(char **ret, const char *path, struct err *err)
{
	char text[SECRET_MAX + 1];
	size_t len = 0;
	int rc = read_file(path, text, sizeof(text), &len, err);

	while (rc == 0 && len > 0 && (text[len - 1] == '\n' || text[len - 1] == '\r'))
		len--;
	if (rc == 0 && len == 0)
		rc = err_set(err, ST_INPUT, "'%s' is empty", path);
	if (rc == 0 && memchr(text, '\0', len) != NULL)
		rc = err_set(err, ST_INPUT, "'%s' is no text", path);
	if (rc == 0) {
		*ret = strndup(text, len);
		if (*ret == NULL)
			rc = err_set(err, ST_NOMEM, "out of memory");
	}
	explicit_bzero(text, sizeof(text));
	return rc;
}

int secret_from_env(char **ret, const char *name, struct err *err)
{
	const char *value = getenv(name), *path;
	char name_file[64];
	int rc;

	snprintf(name_file, sizeof(name_file), "%s_FILE", name);
	path = getenv(name_file);
	if (value != NULL && value[0] == '\0')
		value = NULL;
	if (path != NULL && path[0] == '\0')
		path = NULL;
	if (value != NULL && path != NULL)
		return err_set(err, ST_CONFIG, "both %s and %s are set: unset one of them", name, name_file);
	if (path != NULL) {
		rc = from_file(ret, path, err);
		return rc == 0 ? 0 : err_wrap(err, "%s", name_file);
	}
	*ret = value != NULL ? strdup(value) : NULL;
	return value == NULL || *ret != NULL ? 0 : err_set(err, ST_NOMEM, "out of memory");
}

void secret_free(char *secret)
{
	if (secret == NULL)
		return;
	explicit_bzero(secret, strlen(secret));
	free(secret);
}
