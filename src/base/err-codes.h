/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The only place where codes, HTTP statuses and Kubernetes reasons meet. */
#define ERR_CODES(X)                                                               \
	X(BAD_REQUEST, 400, "BadRequest")                                          \
	X(UNAUTHORIZED, 401, "Unauthorized")                                       \
	X(FORBIDDEN, 403, "Forbidden")                                             \
	X(NOT_FOUND, 404, "NotFound")                                              \
	X(METHOD_NOT_ALLOWED, 405, "MethodNotAllowed")                             \
	X(NOT_ACCEPTABLE, 406, "NotAcceptable")                                    \
	X(ALREADY_EXISTS, 409, "AlreadyExists")                                    \
	X(CONFLICT, 409, "Conflict")                                               \
	X(GONE, 410, "Gone")                                                       \
	X(EXPIRED, 410, "Expired")                                                 \
	X(TOO_LARGE, 413, "RequestEntityTooLarge")                                 \
	X(UNSUPPORTED_MEDIA_TYPE, 415, "UnsupportedMediaType")                     \
	X(INVALID, 422, "Invalid")                                                 \
	X(TOO_MANY_REQUESTS, 429, "TooManyRequests")                               \
	X(INTERNAL, 500, "InternalError")                                          \
	X(UNAVAILABLE, 503, "ServiceUnavailable")                                  \
	X(TIMEOUT, 504, "Timeout")                                                 \
	/* an HTTP status with no reason of its own; err_http_status() tells it */ \
	X(UNKNOWN, 500, "")                                                        \
	/* local conditions; the status shown is what a client would see */        \
	X(CANCELED, 500, "InternalError")                                          \
	X(IO, 500, "InternalError")                                                \
	X(PROTOCOL, 500, "InternalError")                                          \
	X(CORRUPT, 500, "InternalError")
