#include "redis/redis_tls.h"

#include <stdio.h>

#ifdef DROVER_HAVE_HIREDIS_SSL
#include <arpa/inet.h>
#include <string.h>

#include <hiredis/hiredis_ssl.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

/* What OpenSSL noted last in this thread, and forgets now. */
static const char *last_word(void)
{
	unsigned long code = ERR_peek_last_error();
	const char *text = code != 0 ? ERR_reason_error_string(code) : NULL;

	ERR_clear_error();
	return text != NULL ? text : "no reason was given";
}

void redis_tls_forget(void)
{
	ERR_clear_error();
}

static int on_verify(int good, X509_STORE_CTX *store)
{
	const SSL *ssl = X509_STORE_CTX_get_ex_data(store, SSL_get_ex_data_X509_STORE_CTX_idx());
	struct redis_tls_note *note = SSL_get_app_data(ssl);

	if (!good && note != NULL)
		snprintf(note->why, sizeof(note->why), "the server's certificate is not accepted: %s",
			 X509_verify_cert_error_string(X509_STORE_CTX_get_error(store)));
	return good;
}

static int bad_file(const char *what, const char *path, struct err *err)
{
	return err_set(err, ST_CONFIG, "cannot set up TLS to Redis: %s '%s': %s", what, path, last_word());
}

static int set_up(SSL_CTX *ctx, const struct redis_url *u, struct err *err)
{
	SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION);
	SSL_CTX_set_mode(ctx, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
	SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER, on_verify);
	if (u->cacert != NULL ? SSL_CTX_load_verify_locations(ctx, u->cacert, NULL) != 1 : SSL_CTX_set_default_verify_paths(ctx) != 1)
		return bad_file("the authorities in", u->cacert != NULL ? u->cacert : "the system's folder", err);
	if (u->cert == NULL)
		return 0;
	if (SSL_CTX_use_certificate_chain_file(ctx, u->cert) != 1)
		return bad_file("our certificate", u->cert, err);
	if (SSL_CTX_use_PrivateKey_file(ctx, u->key, SSL_FILETYPE_PEM) != 1 || SSL_CTX_check_private_key(ctx) != 1)
		return bad_file("our key", u->key, err);
	return 0;
}

/* The host is what the certificate must be for: a name, which is announced as well, or an address. */
static bool expect(SSL *ssl, const char *host)
{
	struct in6_addr any;

	if (inet_pton(AF_INET, host, &any) == 1 || inet_pton(AF_INET6, host, &any) == 1)
		return X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl), host) == 1;
	SSL_set_hostflags(ssl, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
	return SSL_set1_host(ssl, host) == 1 && SSL_set_tlsext_host_name(ssl, host) == 1;
}

static int make(SSL **ret, const struct redis_url *u, const char *host, struct err *err)
{
	SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
	SSL *ssl = NULL;
	int rc;

	ERR_clear_error();
	if (ctx == NULL)
		return err_set(err, ST_NOMEM, "out of memory");
	rc = set_up(ctx, u, err);
	if (rc == 0) {
		ssl = SSL_new(ctx);
		if (ssl == NULL || !expect(ssl, u->server_name != NULL ? u->server_name : host))
			rc = err_set(err, ST_NOMEM, "out of memory");
	}
	SSL_CTX_free(ctx); /* the SSL holds on to it */
	if (rc != 0)
		SSL_free(ssl);
	else
		*ret = ssl;
	return rc;
}

int redis_tls_check(const struct redis_url *u, struct err *err)
{
	SSL *ssl = NULL;
	int rc = make(&ssl, u, "localhost", err);

	if (rc == 0)
		SSL_free(ssl);
	return rc;
}

int redis_tls_start(redisContext *c, const struct redis_url *u, const char *host, struct redis_tls_note *note, struct err *err)
{
	SSL *ssl = NULL;
	int rc = make(&ssl, u, host, err);

	if (rc != 0)
		return rc;
	note->why[0] = '\0';
	SSL_set_app_data(ssl, note);
	ERR_clear_error();
	if (redisInitiateSSL(c, ssl) == REDIS_OK)
		return 0; /* the SSL is the connection's now */
	SSL_free(ssl);
	return err_set(err, ST_DISCONNECTED, "%s", redis_tls_reason(note, c->errstr));
}

const char *redis_tls_reason(const struct redis_tls_note *note, const char *errstr)
{
	const char *word = ERR_peek_last_error() != 0 ? last_word() : NULL;

	if (note->why[0] != '\0')
		return note->why;
	if (word != NULL)
		return word;
	return errstr != NULL && errstr[0] != '\0' ? errstr : "connection lost";
}

#else

void redis_tls_forget(void)
{
}

static int no_tls(struct err *err)
{
	return err_set(err, ST_CONFIG, "rediss:// needs a hiredis with TLS (1.0 or later), which this build does not have");
}

int redis_tls_check(const struct redis_url *u, struct err *err)
{
	(void)u;
	return no_tls(err);
}

int redis_tls_start(redisContext *c, const struct redis_url *u, const char *host, struct redis_tls_note *note, struct err *err)
{
	(void)c;
	(void)u;
	(void)host;
	(void)note;
	return no_tls(err);
}

const char *redis_tls_reason(const struct redis_tls_note *note, const char *errstr)
{
	(void)note;
	return errstr != NULL && errstr[0] != '\0' ? errstr : "connection lost";
}

#endif
