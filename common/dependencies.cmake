# The libraries that Drover is built with, each as a target dep::NAME. Names of packages and of
# pkg-config files differ between Debian 12 and 13; all of that is settled here.
find_package(PkgConfig REQUIRED)
find_package(Threads REQUIRED)

function(drover_dependency name)
	foreach(module IN LISTS ARGN)
		pkg_check_modules(${name} QUIET IMPORTED_TARGET ${module})
		if(${name}_FOUND)
			message(STATUS "${name}: ${module} ${${name}_VERSION}")
			add_library(dep::${name} ALIAS PkgConfig::${name})
			return()
		endif()
	endforeach()
	message(FATAL_ERROR "${name} is missing (looked for pkg-config files: ${ARGN}). ./dev build installs what is needed.")
endfunction()

drover_dependency(libuv libuv)
drover_dependency(libpq libpq)
drover_dependency(hiredis hiredis)
drover_dependency(jansson jansson)
drover_dependency(msgpack msgpack-c msgpack)

# hiredis got TLS in 1.0; without it `rediss://` is refused at run time.
pkg_check_modules(hiredis_ssl QUIET IMPORTED_TARGET hiredis_ssl)
add_library(dep_hiredis_ssl INTERFACE)
add_library(dep::hiredis_ssl ALIAS dep_hiredis_ssl)
if(hiredis_ssl_FOUND)
	message(STATUS "hiredis_ssl: ${hiredis_ssl_VERSION}")
	target_link_libraries(dep_hiredis_ssl INTERFACE PkgConfig::hiredis_ssl)
	target_compile_definitions(dep_hiredis_ssl INTERFACE DROVER_HAVE_HIREDIS_SSL=1)
endif()

# libpg_query comes without a pkg-config file.
find_path(PG_QUERY_INCLUDE pg_query.h REQUIRED)
find_library(PG_QUERY_LIBRARY pg_query REQUIRED)
add_library(dep::pg_query UNKNOWN IMPORTED)
set_target_properties(dep::pg_query PROPERTIES
	IMPORTED_LOCATION ${PG_QUERY_LIBRARY} INTERFACE_INCLUDE_DIRECTORIES ${PG_QUERY_INCLUDE})
