# The libraries that Drover is built with, each as a target dep::NAME. Names of packages and of
# pkg-config files differ between Debian 12 and 13; all of that is settled here.
find_package(PkgConfig REQUIRED)
find_package(Threads REQUIRED)

foreach(name libuv libpq hiredis jansson libmicrohttpd)
	pkg_check_modules(${name} QUIET IMPORTED_TARGET ${name})
	if(NOT ${name}_FOUND)
		message(FATAL_ERROR "${name} is missing: ./dev build installs what is needed")
	endif()
	message(STATUS "${name}: ${${name}_VERSION}")
	add_library(dep::${name} ALIAS PkgConfig::${name})
endforeach()

# hiredis got TLS in 1.0; without it `rediss://` is refused at run time. Certificates are checked by us, with OpenSSL.
pkg_check_modules(hiredis_ssl QUIET IMPORTED_TARGET hiredis_ssl openssl)
add_library(dep_hiredis_ssl INTERFACE)
add_library(dep::hiredis_ssl ALIAS dep_hiredis_ssl)
if(hiredis_ssl_FOUND)
	message(STATUS "hiredis_ssl: ${hiredis_ssl_VERSION}")
	target_link_libraries(dep_hiredis_ssl INTERFACE PkgConfig::hiredis_ssl)
	target_compile_definitions(dep_hiredis_ssl INTERFACE DROVER_HAVE_HIREDIS_SSL=1)
endif()

# libpg_query comes without a pkg-config file, msgpack-c with one that is broken in Debian 13.
function(drover_plain_dependency name header)
	find_path(${name}_INCLUDE ${header} REQUIRED)
	find_library(${name}_LIBRARY NAMES ${ARGN} REQUIRED)
	add_library(dep::${name} UNKNOWN IMPORTED)
	set_target_properties(dep::${name} PROPERTIES IMPORTED_LOCATION ${${name}_LIBRARY}
		INTERFACE_INCLUDE_DIRECTORIES ${${name}_INCLUDE} IMPORTED_GLOBAL ON)
	message(STATUS "${name}: ${${name}_LIBRARY}")
endfunction()

drover_plain_dependency(pg_query pg_query.h pg_query)
drover_plain_dependency(msgpack msgpack.h msgpack-c msgpackc)
