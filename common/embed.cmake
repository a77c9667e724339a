# Text files as C strings, byte for byte: SQL and Lua stay files that editors and psql can read,
# and the programs need no files at run time.

# The bytes of FILE and a final NUL as a C initializer. Read as hex, since file(READ) of text drops carriage
# returns, and CMake's lists and C's escapes, trigraphs and line ends would each want a rule of their own.
function(drover_c_bytes file ret)
	file(READ "${file}" hex HEX)
	string(REGEX REPLACE "(..)" "'\\\\x\\1'," bytes "${hex}")
	string(REPLACE "'\\x0a'," "'\\x0a',\n\t" bytes "${bytes}")
	set(${ret} "{\n\t${bytes}0\n}" PARENT_SCOPE)
	# A changed file means a new configure run, which writes the C file anew.
	set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS "${file}")
endfunction()

# Keeps the time stamp of what has not changed: a configure run must not rebuild the world.
function(drover_write_if_different path text)
	file(WRITE "${path}.new" "${text}")
	file(COPY_FILE "${path}.new" "${path}" ONLY_IF_DIFFERENT)
	file(REMOVE "${path}.new")
endfunction()

# drover_embed(HEADER PREFIX FILES...): HEADER.h and HEADER.c in the current binary directory,
# where foo_bar.sql is `extern const char PREFIX_FOO_BAR[]`. EXTRA_H and EXTRA_C, if set by the caller, are appended.
function(drover_embed header prefix)
	set(declarations "")
	set(definitions "")
	foreach(file IN LISTS ARGN)
		get_filename_component(stem "${file}" NAME_WE)
		string(TOUPPER "${prefix}_${stem}" symbol)
		drover_c_bytes("${file}" bytes)
		string(APPEND declarations "extern const char ${symbol}[];\n")
		string(APPEND definitions "\nconst char ${symbol}[] = ${bytes};\n")
	endforeach()
	string(TOUPPER "DROVER_${header}_H" guard)
	drover_write_if_different("${CMAKE_CURRENT_BINARY_DIR}/${header}.h"
		"/* Made by CMake from the files themselves: do not edit. */\n#ifndef ${guard}\n#define ${guard}\n\n${declarations}${EXTRA_H}\n#endif\n")
	drover_write_if_different("${CMAKE_CURRENT_BINARY_DIR}/${header}.c"
		"/* Made by CMake from the files themselves: do not edit. */\n#include \"${header}.h\"\n\n#include <stddef.h>\n${definitions}${EXTRA_C}")
endfunction()
