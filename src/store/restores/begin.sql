DO $$
DECLARE
    statements text[];
    statement text;
BEGIN
    -- Whoever holds a table is named by the error, instead of being waited for without end.
    PERFORM set_config('lock_timeout', '30s', true);
    IF to_regclass('cura_restore.unfinished') IS NULL THEN
        CREATE SCHEMA cura_restore;
        CREATE TABLE cura_restore.unfinished (begun_at timestamptz NOT NULL DEFAULT now());
        CREATE TABLE cura_restore.erasures (number bigint, user_id bigint, registered_at timestamptz, erased_at timestamptz);
        CREATE TABLE cura_restore.operator_actions (
            id bigint, at timestamptz, operator text, via text, action text, target text, arguments jsonb, failure text
        );
        CREATE TABLE cura_restore.backups (
            id bigint, taken_at timestamptz, finished_at timestamptz, size bigint, is_encrypted boolean, is_scheduled boolean
        );
        IF to_regclass('public.erasures') IS NOT NULL THEN
            INSERT INTO cura_restore.erasures SELECT number, user_id, registered_at, erased_at FROM public.erasures;
        END IF;
        IF to_regclass('public.operator_actions') IS NOT NULL THEN
            INSERT INTO cura_restore.operator_actions
            SELECT id, at, operator, via, action, target, arguments, failure FROM public.operator_actions;
        END IF;
        IF to_regclass('public.backups') IS NOT NULL THEN
            INSERT INTO cura_restore.backups
            SELECT id, taken_at, finished_at, size, is_encrypted, is_scheduled FROM public.backups;
        END IF;
    END IF;
    -- Not the schema public itself, which may be another user's, and not what belongs to an extension. All is named before anything goes,
    -- because what goes takes along what depends on it; sequences of columns go with their tables.
    SELECT array_agg(named.statement ORDER BY named.place) INTO statements FROM (
        SELECT CASE c.relkind WHEN 'S' THEN 2 ELSE 1 END AS place,
               format('DROP %s IF EXISTS public.%I CASCADE',
                      CASE c.relkind WHEN 'v' THEN 'VIEW' WHEN 'm' THEN 'MATERIALIZED VIEW' WHEN 'S' THEN 'SEQUENCE'
                                     WHEN 'f' THEN 'FOREIGN TABLE' WHEN 'c' THEN 'TYPE' ELSE 'TABLE' END, c.relname) AS statement
        FROM pg_class c
        WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p', 'v', 'm', 'S', 'f', 'c')
          AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')
        UNION ALL
        SELECT 3, format('DROP ROUTINE IF EXISTS %s CASCADE', p.oid::regprocedure)
        FROM pg_proc p
        WHERE p.pronamespace = 'public'::regnamespace
          AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e')
        UNION ALL
        SELECT 4, format('DROP TYPE IF EXISTS public.%I CASCADE', t.typname)
        FROM pg_type t
        WHERE t.typnamespace = 'public'::regnamespace AND t.typtype IN ('e', 'd')
          AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_type'::regclass AND d.objid = t.oid AND d.deptype = 'e')
    ) named;
    DROP SCHEMA IF EXISTS apalis CASCADE;
    FOREACH statement IN ARRAY COALESCE(statements, '{}') LOOP
        EXECUTE statement;
    END LOOP;
END $$
