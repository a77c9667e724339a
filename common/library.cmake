# drover_library(NAME [LIBS...]): one folder = one static library of all its .c files.
# What a folder may include is what it lists here; arrows point one way.
# A folder of headers alone is a library as well, so that the order of work does not matter.
function(drover_library name)
	file(GLOB sources CONFIGURE_DEPENDS *.c)
	list(FILTER sources EXCLUDE REGEX "/main\\.c$")
	if(sources)
		add_library(${name} STATIC ${sources})
		target_link_libraries(${name} PUBLIC ${ARGN})
	else()
		add_library(${name} INTERFACE)
		target_link_libraries(${name} INTERFACE ${ARGN})
	endif()
	set_property(GLOBAL APPEND PROPERTY DROVER_LIBRARIES ${name})
endfunction()

# drover_program(NAME LIBS...): main.c of this folder, linked with the libraries.
function(drover_program name)
	file(GLOB main CONFIGURE_DEPENDS main.c)
	if(main)
		add_executable(${name} ${main})
		target_link_libraries(${name} PRIVATE ${ARGN})
		install(TARGETS ${name} RUNTIME COMPONENT programs)
	endif()
endfunction()

# drover_unit(NAME): systemd/NAME.in of this folder, for systemd; where the programs are is known when they are installed.
function(drover_unit name)
	install(CODE "
		get_filename_component(prefix \"\${CMAKE_INSTALL_PREFIX}\" ABSOLUTE)
		set(BINDIR \"\${prefix}/${CMAKE_INSTALL_BINDIR}\")
		set(unit \"\${prefix}/lib/systemd/system/${name}\")
		message(STATUS \"Installing: \$ENV{DESTDIR}\${unit}\")
		configure_file(\"${CMAKE_CURRENT_SOURCE_DIR}/systemd/${name}.in\" \"\$ENV{DESTDIR}\${unit}\" @ONLY)
		list(APPEND CMAKE_INSTALL_MANIFEST_FILES \"\${unit}\")"
		COMPONENT units)
endfunction()
