package state

import (
	"context"

	"github.com/uptrace/bun"
)

type settingRow struct {
	bun.BaseModel `bun:"table:settings"`

	Name    string `bun:"name,pk"`
	Value   string
	Changed int64
}

// Setting returns a setting's value.
func (s *Store) Setting(ctx context.Context, name string) (string, error) {
	var r settingRow
	err := s.read.NewSelect().Model(&r).Where("name = ?", name).Scan(ctx)
	return r.Value, wrap(err, "setting "+name)
}

// Settings returns all settings.
func (s *Store) Settings(ctx context.Context) (map[string]string, error) {
	var rows []settingRow
	if err := s.read.NewSelect().Model(&rows).Scan(ctx); err != nil {
		return nil, wrap(err, "listing settings")
	}
	out := make(map[string]string, len(rows))
	for _, r := range rows {
		out[r.Name] = r.Value
	}
	return out, nil
}

// SaveSetting sets a setting.
func (s *Store) SaveSetting(ctx context.Context, name, value string) error {
	row := &settingRow{Name: name, Value: value, Changed: nanos(s.o.Now())}
	_, err := s.write.NewInsert().Model(row).On("CONFLICT (name) DO UPDATE").Set("value = EXCLUDED.value").Set("changed = EXCLUDED.changed").Exec(ctx)
	return wrap(err, "setting "+name)
}

// RemoveSetting removes a setting.
func (s *Store) RemoveSetting(ctx context.Context, name string) error {
	r, err := s.write.NewDelete().Model((*settingRow)(nil)).Where("name = ?", name).Exec(ctx)
	return changed(r, err, "setting "+name)
}
